"""What can be said at each level, and what is said of it: help, typos, the Tab key, staying at a
place.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Cli


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An instance `prod` that runs, with the tenants `acme` and `beta`."""
    cli = Cli(tmp_path_factory.mktemp("home"))
    cli.start("prod")
    for tenant in ("acme", "beta"):
        cli.ok("prod", "tenants", "add", tenant)
    cli.ok("prod", "acme", "accounts", "add", "main", "--kind", "capture")
    cli.ok("prod", "acme", "credentials", "add", "till")
    yield cli
    assert cli.process("stop", "prod").code == 0


def test_help_at_each_level_lists_what_can_follow(prod: Cli) -> None:
    root = prod.ok("--help").out
    for word in ("demo", "start", "use", "prod", "running"):
        assert word in root
    instance = prod.ok("prod", "--help").out
    for word in ("tenants", "command-log", "rekey", "acme", "beta"):
        assert word in instance
    tenant = prod.ok("prod", "acme", "--help").out
    for word in ("messages", "credentials", "suspend", "send"):
        assert word in tenant
    assert "no tenant" not in tenant
    assert "no tenant 'acne'; did you mean 'acme'?" in prod.ok("prod", "acne", "--help").out
    group = prod.ok("prod", "acme", "messages", "--help").out
    for word in ("list", "show", "retry", "cancel", "hold", "release", "delete", "export"):
        assert word in group


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lst"], "did you mean 'list'?"),
        (["prd", "info"], "did you mean 'prod'?"),
        (["messages", "list"], "pillarbox NAME messages"),
        (["prod", "tenant", "list"], "did you mean 'tenants'?"),
        (["prod", "acme", "mesages"], "did you mean 'messages'?"),
        (["prod", "acme", "messages", "lst"], "No such command 'lst'"),
        (["prod", "acme", "messages", "list", "--stauts", "sent"], "--status"),
        (["prod", "acme", "messages", "list", "--since", "soon"], "is no time"),
    ],
)
def test_a_typo_is_named_with_what_was_probably_meant(
    prod: Cli, words: list[str], told: str
) -> None:
    shown = prod(*words)
    assert shown.code == 2
    assert told in shown.err
    assert shown.out == ""


def test_the_tab_key_knows_commands_instances_tenants_and_what_they_have(prod: Cli) -> None:
    assert prod.complete("sta") == ["start", "status"]
    assert prod.complete("pr") == ["prod"]
    assert prod.complete("stop", "") == ["prod"]
    assert prod.complete("prod", "a") == ["acme"]
    assert prod.complete("prod", "acme", "s") == ["send", "suppressions", "suspend"]
    assert prod.complete("prod", "acme", "accounts", "show", "") == ["main"]
    assert prod.complete("prod", "acme", "credentials", "revoke", "") == ["till"]
    assert prod.complete("prod", "tenants", "show", "b") == ["beta"]
    assert "sent" in prod.complete("prod", "acme", "messages", "list", "--status", "s")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_is_printed(plain: Cli, shell: str) -> None:
    script = plain.ok("completion", shell).out
    assert f"_PILLARBOX_COMPLETE={shell}_complete" in script


def test_help_and_the_tab_key_start_nothing_heavy(plain: Cli) -> None:
    plain.process("--help")
    started = time.monotonic()
    assert plain.process("--help").code == 0
    plain.complete("st")
    # A server takes more than a second to import, each of these a tenth of one.
    assert time.monotonic() - started < 1.5


def test_who_stays_at_a_place_says_less(prod: Cli) -> None:
    assert prod("current").code == 1
    assert "no tenant 'acne'; did you mean 'acme'?" in prod("use", "prod/acne").err
    assert "did you mean 'prod'?" in prod("use", "prd").err
    prod.ok("use", "prod/acme")
    assert prod.ok("current").out == "prod/acme\n"
    assert prod.ok("current", "--json").json == {"instance": "prod", "tenant": "acme"}
    assert prod.ok("accounts", "list", "--json").json[0]["id"] == "main"
    assert prod.ok("info", "--json").json["id"] == "acme"
    assert len(prod.ok("tenants", "list", "--json").json) == 2
    assert "In use: prod/acme" in prod.ok("--help").out
    prod.ok("use", "prod")
    assert prod.ok("info", "--json").json["name"] == "prod"
    prod.ok("use", "--none")
    assert prod("info").code == 2


@pytest.mark.parametrize("name", ["list", "info", "messages", "import-genro"])
def test_a_command_is_no_name_for_an_instance(plain: Cli, name: str) -> None:
    shown = plain("start", name)
    assert (shown.code, "is a command" in shown.err) == (2, True)
    served = plain("serve", "--name", name)
    assert (served.code, "is a command" in served.err) == (2, True)


def test_the_home_can_be_given(plain: Cli, prod: Cli) -> None:
    assert plain.ok("list", "--json").json == []
    home = str(prod.home)
    assert [each["name"] for each in plain.ok("--home", home, "list", "--json").json] == ["prod"]
    assert plain.ok("--home", home, "prod", "info", "--json").json["name"] == "prod"


def test_nothing_is_cut_or_coloured_where_nobody_looks(prod: Cli, mail: Path) -> None:
    subject = "a long subject " * 20
    mail.write_text(mail.read_text().replace("Hello", subject + "\x1b[31mred"))
    prod.ok("prod", "acme", "send", str(mail))
    listed = prod.process("prod", "acme", "messages", "list").out
    assert subject in listed
    assert "\x1b" not in listed
