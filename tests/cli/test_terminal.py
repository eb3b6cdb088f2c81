"""The command line in a real terminal: it asks for what is missing, and colours what it shows."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.cli.command import Cli


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cli = Cli(tmp_path_factory.mktemp("home"))
    cli.start("prod")
    cli.ok("prod", "tenants", "add", "acme")
    cli.ok("prod", "acme", "accounts", "add", "main", "--kind", "capture")
    yield cli
    assert cli.process("stop", "prod").code == 0


def end_of(terminal: "pexpect.spawn[str]") -> int:
    """Return the exit code, once the command has ended."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return int(terminal.exitstatus or 0)


def test_what_is_missing_is_asked_for(prod: Cli) -> None:
    terminal = prod.terminal("prod", "acme", "accounts", "add", "--user", "u")
    terminal.expect("Account: ")
    terminal.sendline("up")
    terminal.expect("Server: ")
    terminal.sendline("up.example")
    terminal.expect(r"Port \[587\]: ")
    terminal.sendline("2587")
    terminal.expect("Password: ")
    terminal.sendline("hush-hush")
    terminal.expect("up is stored")
    assert "hush-hush" not in terminal.before
    assert end_of(terminal) == 0
    shown = prod.ok("prod", "acme", "accounts", "show", "up", "--json").json
    assert (shown["host"], shown["port"], shown["user"]) == ("up.example", 2587, "u")


def test_a_password_that_is_chosen_is_asked_for_twice(prod: Cli) -> None:
    terminal = prod.terminal("prod", "acme", "credentials", "add", "--choose-password")
    terminal.expect("User name: ")
    terminal.sendline("till")
    terminal.expect("Password: ")
    terminal.sendline("a-password")
    terminal.expect("Repeat for confirmation: ")
    terminal.sendline("another")
    terminal.expect("do not match")
    for _ in range(2):
        terminal.expect(": ")
        terminal.sendline("a-password")
    terminal.expect("till can log in")
    assert end_of(terminal) == 0


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_what_cannot_be_undone_is_asked_about(prod: Cli, answer: str, code: int) -> None:
    prod("prod", "tenants", "add", "gone")
    terminal = prod.terminal("prod", "tenants", "delete", "gone")
    terminal.expect("Destroy gone with nothing in it")
    terminal.sendline(answer)
    assert end_of(terminal) == code
    assert prod("prod", "tenants", "show", "gone").code == (1 if answer == "y" else 0)


def test_a_terminal_has_colours_unless_they_are_not_wanted(prod: Cli, mail: Path) -> None:
    prod.ok("prod", "acme", "send", str(mail), "--wait")
    terminal = prod.terminal("prod", "acme", "messages", "list")
    terminal.expect("\x1b\\[32msent")
    assert end_of(terminal) == 0
    prod.variables["NO_COLOR"] = "1"
    terminal = prod.terminal("prod", "acme", "messages", "list")
    terminal.expect("sent")
    assert "\x1b[32m" not in terminal.before
    assert end_of(terminal) == 0
    del prod.variables["NO_COLOR"]


def test_tables_fit_the_terminal(prod: Cli, mail: Path) -> None:
    mail.write_text(mail.read_text().replace("Hello", "many words " * 30))
    prod.ok("prod", "acme", "send", str(mail), "--wait")
    terminal = prod.terminal("prod", "acme", "messages", "list")
    terminal.expect(pexpect.EOF)
    lines = [line for line in (terminal.before or "").splitlines() if "\x1b" not in line]
    assert max(len(line) for line in lines) <= 100
    terminal.close()


def test_events_are_followed_until_ctrl_c(prod: Cli, mail: Path) -> None:
    terminal = prod.terminal("prod", "acme", "events", "--follow")
    for subject in ("first", "second"):
        mail.write_text(f"From: a@b.example\nTo: {subject}@there.example\nSubject: x\n\nx\n")
        prod.ok("prod", "acme", "send", str(mail))
        terminal.expect(f"sent  {subject}@there.example")
    terminal.kill(signal.SIGINT)
    terminal.expect("go on with: --after ")
    assert end_of(terminal) == 0
