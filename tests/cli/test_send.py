"""`send`: files, folders, mailboxes and standard input, followed to their end, never twice."""

import mailbox
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.cli.command import Cli

MAIL = "From: App <app@acme.example>\nTo: {to}\nSubject: {subject}\n\nHi.\n"


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An instance that runs, with a tenant whose mail is kept and one whose mail waits."""
    cli = Cli(tmp_path_factory.mktemp("home"))
    cli.start("prod")
    for tenant, account in (("acme", ("--kind", "capture")), ("rest", ("--host", "up.invalid"))):
        cli.ok("prod", "tenants", "add", tenant)
        cli.ok("prod", tenant, "accounts", "add", "main", *account)
    yield cli
    assert cli.process("stop", "prod").code == 0


def write(folder: Path, count: int, name: str = "mail") -> Path:
    folder.mkdir(exist_ok=True)
    for n in range(count):
        text = MAIL.format(to=f"you{n}@there.example", subject=f"{name} {n}")
        (folder / f"{name}{n:04}.eml").write_text(text)
    return folder


def count(cli: Cli, tenant: str, *filters: str) -> int:
    return len(cli.ok("prod", tenant, "messages", "export", *filters).lines)


def test_a_mail_is_followed_to_its_end(prod: Cli, mail: Path) -> None:
    sent = prod.ok("prod", "acme", "send", str(mail), "--wait", "--json").json
    assert [(each["status"], each["file"]) for each in sent] == [("sent", str(mail))]
    story = prod.ok("prod", "acme", "messages", "show", sent[0]["id"]).out
    for words in ("accepted", "by REST", "sent", "you@there.example", "by main"):
        assert words in story


def test_the_same_mail_is_sent_once(prod: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "same", 3, "same")
    before = count(prod, "acme")
    assert prod.ok("prod", "acme", "send", str(folder), "--wait").err.startswith("3 queued")
    again = prod.ok("prod", "acme", "send", str(folder), "--wait")
    assert again.err.startswith("3 already sent")
    crlf = (folder / "same0000.eml").read_bytes().replace(b"\n", b"\r\n")
    assert prod.ok("prod", "acme", "send", "-", stdin=crlf).err.startswith("1 already sent")
    assert count(prod, "acme") == before + 3


def test_an_mbox_and_a_maildir_are_sent_whole(prod: Cli, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    maildir = mailbox.Maildir(tmp_path / "maildir")
    for n in range(2):
        box.add(MAIL.format(to="you@there.example", subject=f"of the mbox {n}"))
        maildir.add(MAIL.format(to="you@there.example", subject=f"of the maildir {n}"))
    box.close()
    for name in ("box", "maildir"):
        assert prod.ok("prod", "acme", "send", str(tmp_path / name)).err == "2 queued\n"
    subjects = {
        m["message"]["subject"] for m in prod.ok("prod", "acme", "messages", "export").lines
    }
    assert {"of the mbox 1", "of the maildir 1"} <= subjects


def test_the_envelope_may_be_another_than_the_header_says(prod: Cli, mail: Path) -> None:
    given = (
        "--from",
        "<>",
        "--to",
        "a@else.example",
        "--to",
        "b@else.example",
        "--priority",
        "high",
    )
    sent = prod.ok("prod", "rest", "send", str(mail), *given, "--at", "2h", "--json").json
    record = prod.ok("prod", "rest", "messages", "show", sent[0]["id"], "--json").json
    assert [r["address"] for r in record["recipients"]] == ["a@else.example", "b@else.example"]
    assert (record["priority"], record["status"]) == (1, "scheduled")
    assert "Bcc" not in prod.ok("prod", "rest", "messages", "show", sent[0]["id"], "--content").out


def test_more_recipients_than_a_request_can_carry_are_portioned(prod: Cli, tmp_path: Path) -> None:
    to = ", ".join(f"recipient-number-{n}@there.example" for n in range(250))
    (tmp_path / "many.eml").write_text(MAIL.format(to=to, subject="many"))
    sent = prod.ok("prod", "acme", "send", str(tmp_path / "many.eml"), "--wait", "--json").json
    assert len(sent) > 2
    records = [
        prod.ok("prod", "acme", "messages", "show", each["id"], "--json").json for each in sent
    ]
    assert len({r["address"] for record in records for r in record["recipients"]}) == 250


def test_what_cannot_be_sent_is_named_and_the_rest_is_sent(prod: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "mixed", 1, "good")
    (folder / "bad.eml").write_text("Subject: from nobody\n\nHi.\n")
    (folder / "worse.eml").write_text(MAIL.format(to="not an address", subject="x"))
    shown = prod("prod", "acme", "send", str(folder))
    assert shown.code == 1
    assert "bad.eml: no From in its header: say --from" in shown.err
    assert "worse.eml: Bad address syntax" in shown.err
    assert shown.err.endswith("1 queued, 2 refused\n")
    assert prod("prod", "acme", "send", str(tmp_path / "none.eml")).code == 1
    assert prod("prod", "acme", "send", str(tmp_path)).code == 1


def test_waiting_fails_with_a_mail_that_fails_and_ends_in_time(prod: Cli, mail: Path) -> None:
    sent = prod("prod", "rest", "send", str(mail), "--batch", "b", "--wait", "--timeout", "1s")
    assert (sent.code, "1 are not final yet" in sent.err) == (75, True)
    prod.ok("prod", "rest", "messages", "cancel", "--batch", "b", "--yes")
    again = prod("prod", "rest", "send", str(mail), "--wait")
    assert again.code == 1
    assert "you@there.example: cancelled" in again.err


def test_ctrl_c_leaves_what_can_be_gone_on_with(prod: Cli, tmp_path: Path) -> None:
    total = 1000
    folder = write(tmp_path / "bulk", total, "bulk")
    terminal = prod.terminal("prod", "acme", "send", str(folder))
    terminal.expect(r"given .*/1000")
    terminal.expect(r"[1-9]\d*/s")
    terminal.kill(signal.SIGINT)
    terminal.expect(r"interrupted: (\d+) queued of 1000; run it again")
    taken = int(terminal.match.group(1))
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert 0 < taken < total
    rest = prod.ok("prod", "acme", "send", str(folder), "--json").json
    assert len(rest) == total
    found = prod.ok("prod", "acme", "messages", "export").lines
    subjects = [
        m["message"]["subject"] for m in found if m["message"]["subject"].startswith("bulk")
    ]
    assert len(subjects) == len(set(subjects)) == total


def test_what_is_given_to_a_stopped_instance_is_sent_once_it_runs(plain: Cli, mail: Path) -> None:
    plain.start("prod")
    plain.ok("prod", "tenants", "add", "acme")
    plain.ok("prod", "acme", "accounts", "add", "main", "--kind", "capture")
    assert plain.process("stop", "prod").code == 0
    assert plain("prod", "acme", "send", str(mail), "--wait").code == 69
    sent = plain.ok("prod", "acme", "send", str(mail))
    assert "sent once it is started" in sent.err
    assert plain.ok("prod", "acme", "messages", "list", "--json").json[0]["status"] == "queued"
    plain.start("prod")
    assert plain.ok("prod", "acme", "send", str(mail), "--wait").code == 0
    assert plain.ok("prod", "acme", "messages", "list", "--json").json[0]["status"] == "sent"
    assert plain.process("stop", "prod").code == 0
