"""Each command for tenants, accounts, logins and messages, on both engines, whether the instance
runs or not.
"""

import json
import re
from pathlib import Path

import pytest

from tests.cli.command import Cli


def test_tenants_are_made_shown_changed_and_deleted(instance: Cli) -> None:
    made = instance.ok("prod", "tenants", "add", "shop", "--name", "Shop", "--hourly", "10")
    assert len(made.out.strip()) == 43
    assert "shown this once" in made.err
    names = {each["id"] for each in instance.ok("prod", "tenants", "list", "--json").json}
    assert {"acme", "rest", "shop"} <= names
    instance.ok("prod", "tenants", "update", "shop", "--name", "The shop", "--inactive")
    shown = instance.ok("prod", "tenants", "show", "shop", "--json").json
    assert (shown["name"], shown["active"]) == ("The shop", False)
    assert shown["rate_limits"] == {"hourly": 10}
    assert "The shop" in instance.ok("prod", "tenants", "show", "shop").out
    again = instance("prod", "tenants", "add", "shop")
    assert (again.code, "already" in again.err) == (1, True)
    assert instance("prod", "tenants", "delete", "shop").code == 2  # nobody can be asked
    instance.ok("prod", "tenants", "delete", "shop", "--yes")
    assert instance("prod", "tenants", "show", "shop").code == 1


def test_a_key_is_made_anew_and_revoked(instance: Cli) -> None:
    first = instance.ok("prod", "tenants", "key", "acme", "--grace", "1h").out.strip()
    made = instance.ok("prod", "tenants", "key", "acme", "--yes", "--json").json
    assert len(first) == len(made["api_key"]) == 43
    assert "are revoked" in instance.ok("prod", "tenants", "key", "acme", "--revoke", "-y").err


def test_a_callback_login_comes_from_a_file_and_is_not_shown(instance: Cli, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush-hush\n")
    instance.ok(
        "prod", "tenants", "update", "acme", "--callback-url", "http://127.0.0.1:1/",
        "--auth", "bearer", "--auth-secret-file", str(tmp_path / "secret"),
    )  # fmt: skip
    shown = instance.ok("prod", "tenants", "show", "acme", "--json")
    assert shown.json["client_auth"]["method"] == "bearer"
    assert "hush" not in shown.out
    missing = instance("prod", "tenants", "update", "acme", "--auth", "bearer")
    assert (missing.code, "--auth-secret-file" in missing.err) == (2, True)
    instance.ok("prod", "tenants", "update", "acme", "--auth", "none")


def test_accounts_are_made_shown_and_deleted(instance: Cli) -> None:
    add = ("prod", "acme", "accounts", "add", "up")
    assert instance(*add).code == 2
    assert instance(*add, "--host", "up.example", "--user", "u").code == 2
    instance.ok(
        *add, "--host", "up.example", "--user", "u", "--password-stdin",
        "--limit-per-hour", "5", "--sender-domain", "acme.example", stdin="hush-hush\n",
    )  # fmt: skip
    shown = instance.ok("prod", "acme", "accounts", "show", "up", "--json")
    assert (shown.json["port"], shown.json["tls"]) == (587, "starttls")
    assert "hush" not in shown.out
    assert "5/hour" in instance.ok("prod", "acme", "accounts", "list").out
    assert instance(*add, "--host", "other.example").code == 1
    instance.ok(*add, "--host", "other.example", "--replace")
    nearest = instance("prod", "acme", "accounts", "delete", "ups", "--yes")
    assert (nearest.code, "did you mean 'up'" in nearest.err) == (1, True)
    instance.ok("prod", "acme", "accounts", "delete", "up", "--yes")
    ids = [each["id"] for each in instance.ok("prod", "acme", "accounts", "list", "--json").json]
    assert ids == ["main"]


def test_logins_are_made_listed_and_revoked(instance: Cli) -> None:
    made = instance.ok("prod", "acme", "credentials", "add", "till", "--sender", "*@acme.example")
    assert len(made.out.strip()) == 43
    chosen = instance.ok(
        "prod", "acme", "credentials", "add", "door", "--password-stdin", "--json",
        stdin="a-password-of-mine\n",
    )  # fmt: skip
    assert chosen.json == {"username": "door", "password": None}
    listed = instance.ok("prod", "acme", "credentials", "list", "--json").json
    assert {each["username"] for each in listed} == {"till", "door"}
    assert "*@acme.example" in instance.ok("prod", "acme", "credentials", "list").out
    for user in ("till", "door"):
        instance.ok("prod", "acme", "credentials", "revoke", user, "--yes")
    gone = instance("prod", "acme", "credentials", "revoke", "till", "--yes")
    assert (gone.code, "no login 'till'" in gone.err) == (1, True)


@pytest.fixture
def waiting(instance: Cli, mail: Path) -> str:
    """The id of a message that waits for tomorrow."""
    sent = instance.ok("prod", "rest", "send", str(mail), "--at", "1d", "--json").json[0]
    return str(sent["id"])


def test_messages_are_listed_by_filters_and_shown_with_their_story(
    instance: Cli, waiting: str
) -> None:
    found = instance.ok("prod", "rest", "messages", "list", "--status", "scheduled", "--json").json
    assert [each["id"] for each in found] == [waiting]
    assert (
        instance.ok("prod", "rest", "messages", "list", "--recipient", "x@y.z", "--json").json == []
    )
    table = instance.ok("prod", "rest", "messages", "list").out
    assert waiting in table
    assert "Hello" in table
    story = instance.ok("prod", "rest", "messages", "show", waiting).out
    for words in ("accepted", "by REST", "you@there.example", "scheduled", "in 24 h"):
        assert words in story
    assert instance.ok("prod", "rest", "messages", "show", waiting, "--json").json["id"] == waiting
    content = instance.ok("prod", "rest", "messages", "show", waiting, "--content").out
    assert "Subject: Hello" in content
    missing = instance("prod", "rest", "messages", "show", "none")
    assert (missing.code, missing.err) == (1, "pillarbox: message not found\n")


def test_orders_are_given_by_id_and_by_filter(instance: Cli, waiting: str) -> None:
    messages = ("prod", "rest", "messages")

    def status() -> str:
        shown = instance.ok(*messages, "show", waiting, "--json").json
        return str(shown["status"])

    assert "would be held" in instance.ok(*messages, "hold", "--active", "--dry-run").err
    assert instance(*messages, "hold").code == 2
    instance.ok(*messages, "hold", waiting)
    assert status() == "suspended"
    assert instance(*messages, "release", "--active").code == 2  # nobody can be asked
    instance.ok(*messages, "release", "--active", "--yes")
    assert status() == "scheduled"
    assert instance.ok(*messages, "retry", waiting, "--json").json["count"] in (0, 1)
    instance.ok(*messages, "cancel", waiting)
    assert status() == "cancelled"
    missing = instance(*messages, "delete", waiting, "none", "--yes")
    assert (missing.code, "not found: none" in missing.err) == (1, True)
    assert instance(*messages, "show", waiting).code == 1


def test_messages_and_events_are_exported_as_json_lines(
    instance: Cli, waiting: str, tmp_path: Path
) -> None:
    instance.ok("prod", "rest", "messages", "cancel", waiting)
    file = tmp_path / "messages.jsonl"
    export = ("prod", "rest", "messages", "export", "--history", "--output", str(file))
    instance.ok(*export)
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert waiting in [each["id"] for each in exported]
    assert exported[-1]["history"]
    assert instance(*export).code == 2
    events = instance.ok("prod", "rest", "events", "--json").lines
    assert [e["error"] for e in events if e["id"] == waiting] == ["cancelled"]
    shown = instance.ok("prod", "rest", "events")
    assert "you@there.example" in shown.out
    cursor = shown.err.split()[-1]
    assert instance.ok("prod", "rest", "events", "--after", cursor, "--json").out == ""
    instance.ok("prod", "rest", "messages", "delete", waiting, "--yes")


def test_batches_are_suspended_and_activated(instance: Cli) -> None:
    assert instance.ok("prod", "acme", "suspend", "--json").json["suspended_batches"] == ["*"]
    assert re.search(r"suspended +all", instance.ok("prod", "acme", "info").out)
    one = instance("prod", "acme", "activate", "--batch", "b1")
    assert one.code == 1
    assert instance.ok("prod", "acme", "activate", "--json").json["suspended_batches"] == []


def test_an_instance_tells_of_itself(instance: Cli, is_running: bool) -> None:
    found = instance.ok("prod", "info", "--json").json
    assert found["state"] == ("running" if is_running else "stopped")
    assert found["tenants"] == 2
    assert bool(found["listening"]) == is_running
    assert "tenants" in instance.ok("prod", "info").out
    assert "queue" in instance.ok("prod", "stats", "--json").json
    assert instance.ok("prod", "acme", "info", "--json").json["id"] == "acme"
    assert "not final" in instance.ok("prod", "acme", "info").out
    assert len(instance.ok("prod", "token").out.strip()) == 43
    woken = instance("prod", "run-now"), instance("prod", "acme", "run-now")
    assert [each.code for each in woken] == ([0, 0] if is_running else [69, 69])


def test_what_is_done_is_logged_and_the_log_is_purged(instance: Cli, tmp_path: Path) -> None:
    instance.ok("prod", "tenants", "update", "acme", "--weight", "2")
    found = instance.ok("prod", "command-log", "list", "--method", "PUT", "--json").json
    assert (found[-1]["route"], found[-1]["target"]) == ("/tenant/{id}", "acme")
    assert "PUT /tenant/{id}" in instance.ok("prod", "command-log", "list").out
    file = tmp_path / "log.jsonl"
    instance.ok("prod", "command-log", "export", "-o", str(file))
    assert file.read_text().count("\n") >= len(found)
    assert instance("prod", "command-log", "purge").code == 2
    instance.ok("prod", "command-log", "purge", "--before", "0s", "--yes")
    left = instance.ok("prod", "command-log", "list", "--json").json
    assert {each["method"] for each in left} == {"DELETE"}


def test_an_unknown_tenant_is_named_with_the_nearest(instance: Cli) -> None:
    shown = instance("prod", "acne", "messages", "list")
    assert shown.code == 1
    assert shown.err == "pillarbox: prod has no tenant 'acne'; did you mean 'acme'?\n"


def test_accounts_are_verified_step_by_step(instance: Cli) -> None:
    kept = instance.ok("prod", "acme", "accounts", "verify", "main")
    assert "delivers nowhere" in kept.out
    away = instance("prod", "rest", "accounts", "verify", "main")
    assert (away.code, "connect" in away.out) == (75, True)
    steps = instance("prod", "rest", "accounts", "verify", "main", "--json").json["steps"]
    assert (steps[0]["step"], steps[0]["ok"]) == ("connect", False)


def test_suppressions_are_added_listed_obeyed_and_removed(instance: Cli, mail: Path) -> None:
    place = ("prod", "acme", "suppressions")
    instance.ok(*place, "add", "you@there.example", "--reason", "asked us to", "--until", "30d")
    instance.ok(*place, "add", "other@there.example")
    (found,) = instance.ok(*place, "list", "--address", "you@there.example", "--json").json
    assert (found["address"], found["reason"]) == ("you@there.example", "asked us to")
    assert found["until"] > found["since"]
    assert "other@there.example" in instance.ok(*place, "list").out
    refused = instance("prod", "acme", "send", str(mail))
    assert (refused.code, "suppressed" in refused.err + refused.out) == (1, True)
    for address in ("you@there.example", "other@there.example"):
        instance.ok(*place, "remove", address)
    assert instance.ok(*place, "list", "--json").json == []
    assert instance(*place, "remove", "you@there.example").code == 1
