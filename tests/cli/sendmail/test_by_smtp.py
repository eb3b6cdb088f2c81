"""Mail that goes to the relay by SMTP, and what its caller is told when it does not."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from cli.sendmail.by_smtp import tls_of, xtext
from tests.cli.sendmail.calling import HELLO, Caller
from tests.fakes.upstream import DROP, HANG, FakeUpstream, Rule

USERS = {"app": "a secret"}
LOGIN = {"user": "app", "password": "a secret"}


@pytest.fixture
async def relay() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


def caller(home: Path, relay: FakeUpstream, **settings: str) -> Caller:
    return Caller(home, {"server": f"127.0.0.1:{relay.port}", "domain": "acme.test", **settings})


async def test_a_mail_goes_with_what_it_lacks(tmp_path: Path, relay: FakeUpstream) -> None:
    call = caller(tmp_path, relay, aliases="root=ops@acme.test")
    await call.ok("-FCron Daemon", "-i", "-B8BITMIME", "-oem", "root", mail=b"Subject: x\n\n.\nhi")
    [mail] = await relay.wait_for(1)
    assert mail.recipients == ("ops@acme.test",)
    assert mail.sender.endswith("@acme.test")
    assert mail.content.endswith(b"\r\nSubject: x\r\n\r\n.\r\nhi\r\n")
    assert f"From: Cron Daemon <{mail.sender}>\r\n".encode() in mail.content
    for field in (b"\r\nMessage-ID: <", b"\r\nDate: "):
        assert mail.content.count(field) == 1


async def test_recipients_come_from_the_mail_and_bcc_stays_hidden(
    tmp_path: Path, relay: FakeUpstream
) -> None:
    given = b"From: App <app@acme.test>\nTo: bob@there.test\nBcc: eve@there.test\n\nhi\n"
    await caller(tmp_path, relay).ok("-t", "-i", "more@there.test", mail=given)
    [mail] = await relay.wait_for(1)
    assert set(mail.recipients) == {"bob@there.test", "eve@there.test", "more@there.test"}
    assert mail.sender == "app@acme.test"
    assert b"eve" not in mail.content


async def test_the_null_sender_and_wishes_for_reports_are_passed_on(
    tmp_path: Path, relay: FakeUpstream
) -> None:
    wishes = ("-N", "never", "-R", "hdrs", "-V", "id+1")
    await caller(tmp_path, relay).ok("-f", "<>", *wishes, "bob@there.test", mail=HELLO)
    [mail] = await relay.wait_for(1)
    assert mail.sender == ""
    assert "RET=HDRS" in mail.mail_parameters
    assert "ENVID=id+2B1" in mail.mail_parameters
    assert mail.rcpt_parameters == ("NOTIFY=NEVER",)


async def test_letters_of_all_alphabets_go_through(tmp_path: Path, relay: FakeUpstream) -> None:
    await caller(tmp_path, relay).ok("jürgen@there.test", mail="Subject: ü\n\nü\n".encode())
    [mail] = await relay.wait_for(1)
    assert mail.recipients == ("jürgen@there.test",)
    assert "SMTPUTF8" in mail.mail_parameters


async def test_lines_of_any_length_go_through(tmp_path: Path, relay: FakeUpstream) -> None:
    many = b",\n ".join(b"user%05d@there.test" % number for number in range(200))
    given = b"To: " + many + b"\nX-Long: " + b"x" * 100_000 + b"\n\n" + b"y" * 100_000
    await caller(tmp_path, relay).ok("-t", mail=given)
    [mail] = await relay.wait_for(1)
    assert len(mail.recipients) == 200
    assert b"x" * 100_000 in mail.content


async def test_it_logs_in_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with FakeUpstream(users=USERS, ca=authority, starttls=True) as relay:
        call = caller(tmp_path, relay, **LOGIN, tls="starttls", ca_file=str(tmp_path / "ca.pem"))
        await call.ok("bob@there.test")
        [mail] = await relay.wait_for(1)
        assert (mail.tls, mail.user) == (True, "app")
        distrusting = caller(tmp_path, relay, **LOGIN, tls="starttls")
        assert (await distrusting("bob@there.test")).code == 69


@pytest.mark.parametrize(
    ("on", "code"),
    [
        ({"GREETING": "421 4.3.2 stopping"}, os.EX_TEMPFAIL),
        ({"GREETING": "554 5.3.2 closed"}, 69),
        ({"EHLO": DROP}, os.EX_TEMPFAIL),
        ({"MAIL": "452 4.3.1 full"}, os.EX_TEMPFAIL),
        ({"MAIL": "530 5.7.0 Authentication required"}, os.EX_NOPERM),
        ({"RCPT": {"eve@there.test": "550 5.1.1 unknown"}}, os.EX_DATAERR),
        ({"RCPT": {"eve@there.test": "451 4.3.0 later"}}, os.EX_TEMPFAIL),
        ({"DATA": "451 4.3.0 later"}, os.EX_TEMPFAIL),
        ({"DOT": "550 5.7.1 not your address"}, os.EX_NOPERM),
        ({"DOT": "552 5.3.4 too large"}, os.EX_DATAERR),
        ({"DOT": DROP}, os.EX_TEMPFAIL),
        ({"DOT": HANG}, os.EX_TEMPFAIL),
    ],
)
async def test_a_refusal_becomes_a_code_and_nobody_gets_the_mail(
    tmp_path: Path, on: dict[str, Rule], code: int
) -> None:
    async with FakeUpstream(on=on) as relay:
        ending = await caller(tmp_path, relay, timeout_s="1")("bob@there.test", "eve@there.test")
        assert ending.code == code, ending.err
        assert ending.err.startswith("sendmail: ")
        assert len(ending.err.splitlines()) == 1
        assert not relay.received


async def test_a_wrong_password_is_no_permission_and_is_not_shown(tmp_path: Path) -> None:
    async with FakeUpstream(users=USERS) as relay:
        ending = await caller(tmp_path, relay, user="app", password="wr0ng")("bob@there.test")
        assert ending.code == os.EX_NOPERM
        assert "wr0ng" not in ending.err


async def test_the_caller_keeps_the_mail_while_the_relay_is_down(
    tmp_path: Path, relay: FakeUpstream
) -> None:
    call = caller(tmp_path, relay)
    await relay.stop()
    assert (await call("bob@there.test")).code == os.EX_TEMPFAIL


async def test_mail_for_nobody_is_refused(tmp_path: Path, relay: FakeUpstream) -> None:
    call = caller(tmp_path, relay)
    assert (await call()).code == os.EX_USAGE
    assert (await call("-t", mail=b"Subject: x\n\n")).code == os.EX_DATAERR
    assert (await call("a@b.test\r\nRCPT TO:<x@y.test>")).code == os.EX_DATAERR
    assert not relay.received


@pytest.mark.parametrize(
    ("mode", "host", "port", "tls"),
    [
        ("auto", "127.0.0.1", 2525, "none"),
        ("auto", "localhost", 465, "implicit"),
        ("auto", "mail.acme.test", 587, "starttls"),
        ("none", "mail.acme.test", 587, "none"),
    ],
)
def test_a_login_leaves_the_machine_in_tls_only(mode: str, host: str, port: int, tls: str) -> None:
    assert tls_of(mode, host, port) == tls


def test_a_parameter_is_xtext() -> None:
    assert xtext("a+b=c d") == "a+2Bb+3Dc+20d"
