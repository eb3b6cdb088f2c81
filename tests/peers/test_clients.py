"""Mail from the clients that people have, through the relay, to a real Postfix."""

import asyncio
import json
import re
import smtplib
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors
from tests.peers.postfix import Postfix
from tests.peers.programs import run
from tests.scenarios.conftest import Relay

pytestmark = pytest.mark.peers("postfix")

QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as ([0-9a-f-]{36})")
CLIENT_S = 30


@pytest.fixture(autouse=True)
async def way_out(relay: Relay, postfix: Postfix) -> None:
    """The tenant's account leads to Postfix, in TLS and with a login."""
    await relay.node.stores.accounts.save(postfix.account())


async def swaks(doors: Doors, *options: str, port: int | None = None) -> tuple[int, str]:
    return await run(
        "swaks",
        *("--server", "localhost", "--port", str(port or doors.port)),
        *("--from", "app@acme.test", "--to", "bob@there.test,eve@there.test"),
        *("--auth-user", doors.user, "--auth-password", doors.password),
        *("--tls-verify", "--tls-ca-path", str(doors.ca_file)),
        *options,
    )


@pytest.mark.peers("swaks")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_sends_after_starttls(
    relay: Relay, doors: Doors, mailbox: FakeUpstream, mechanism: str
) -> None:
    code, said = await swaks(doors, "--tls", "--auth", mechanism)
    assert code == 0, said
    await relay.settled(queued_as(said), "sent", "sent")
    [mail] = await mailbox.wait_for(1)
    assert mail.recipients == ("bob@there.test", "eve@there.test")
    assert b"This is a test mailing" in mail.content


@pytest.mark.peers("swaks")
async def test_swaks_sends_inside_tls(relay: Relay, doors: Doors, mailbox: FakeUpstream) -> None:
    code, said = await swaks(doors, "--tls-on-connect", "--auth", port=doors.tls_port)
    assert code == 0, said
    await relay.settled(queued_as(said), "sent", "sent")
    await mailbox.wait_for(1)


@pytest.mark.peers("swaks")
async def test_swaks_finds_no_login_in_clear(doors: Doors) -> None:
    code, said = await swaks(doors, "--auth", "PLAIN")
    assert code != 0
    assert "AUTH" not in [line[8:12] for line in said.splitlines() if line.startswith("<-  250")]
    assert "MAIL FROM" not in said


@pytest.mark.peers("swaks")
async def test_swaks_is_turned_away_with_a_wrong_password(doors: Doors) -> None:
    code, said = await swaks(doors, "--tls", "--auth", "PLAIN", "--auth-password", "wrong")
    assert code != 0
    assert "535 5.7.8" in said
    assert "MAIL FROM" not in said


@pytest.mark.parametrize("inside_tls", [False, True])
async def test_smtplib_sends_what_arrives_byte_for_byte(
    relay: Relay, doors: Doors, mailbox: FakeUpstream, inside_tls: bool
) -> None:
    content = (
        b"From: app@acme.test\r\nTo: bob@there.test\r\nSubject: exact\r\n"
        b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@acme.test>\r\n\r\n"
        b".dot\r\n\r\n" + b"0123456789" * 7 + b"\r\n" + bytes(range(128, 256)) + b"\r\n"
    )
    reply = await asyncio.to_thread(send_by_smtplib, doors, content, inside_tls)
    await relay.settled(queued_as(reply), "sent")
    [mail] = await mailbox.wait_for(1)
    assert mail.content.endswith(b"\r\n" + content)


def send_by_smtplib(doors: Doors, content: bytes, inside_tls: bool) -> str:
    """Send one mail and return the reply to its last dot."""
    context = ssl.create_default_context(cafile=str(doors.ca_file))
    client = (
        smtplib.SMTP_SSL("localhost", doors.tls_port, timeout=CLIENT_S, context=context)
        if inside_tls
        else smtplib.SMTP("localhost", doors.port, timeout=CLIENT_S)
    )
    with client:
        if not inside_tls:
            client.starttls(context=context)
        client.login(doors.user, doors.password)
        client.ehlo_or_helo_if_needed()
        client.mail("app@acme.test", ["BODY=8BITMIME"])
        client.rcpt("bob@there.test")
        code, text = client.data(content)
    return f"{code} {text.decode()}"


async def test_smtplib_sends_an_email_message_with_every_recipient(
    doors: Doors, mailbox: FakeUpstream
) -> None:
    message = EmailMessage()
    message["From"] = "app@acme.test"
    message["To"] = "Bob <bob@there.test>"
    message["Cc"] = "eve@there.test"
    message["Bcc"] = "secret@there.test"
    message["Subject"] = "Grüße"
    message.set_content("ein Gruß\n")

    def send() -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP("localhost", doors.port, timeout=CLIENT_S) as client:
            client.starttls(context=ssl.create_default_context(cafile=str(doors.ca_file)))
            client.login(doors.user, doors.password)
            return client.send_message(message)

    assert await asyncio.to_thread(send) == {}
    [mail] = await mailbox.wait_for(1)
    assert set(mail.recipients) == {"bob@there.test", "eve@there.test", "secret@there.test"}
    arrived = message_from_bytes(mail.content, policy=policy.default)
    assert arrived["Subject"] == "Grüße"
    assert arrived["Bcc"] is None
    assert arrived.get_content().splitlines() == ["ein Gruß"]


@pytest.mark.peers("nodemailer")
@pytest.mark.parametrize(
    ("secure", "pool", "mechanism"),
    [(False, False, "PLAIN"), (False, True, "LOGIN"), (True, True, "PLAIN")],
)
async def test_nodemailer_sends(
    doors: Doors, mailbox: FakeUpstream, secure: bool, pool: bool, mechanism: str
) -> None:
    recipients = [f"r{i}@there.test" for i in range(6)]
    told = {
        "port": doors.tls_port if secure else doors.port,
        "ca_file": str(doors.ca_file),
        "user": doors.user,
        "password": doors.password,
        "secure": secure,
        "pool": pool,
        "mechanism": mechanism,
        "recipients": recipients,
    }
    code, said = await run("node", str(Path(__file__).with_name("nodemailer.js")), json.dumps(told))
    assert code == 0, said
    assert len(QUEUED.findall(said)) == 6
    await mailbox.wait_for(6)
    assert {mail.recipients for mail in mailbox.received} == {
        (address, "secret@there.test") for address in recipients
    }
    for mail in mailbox.received:
        arrived = message_from_bytes(mail.content, policy=policy.default)
        assert arrived["Subject"] == "Grüße"
        text, attachment = arrived.iter_parts()
        assert text.get_content().splitlines() == ["one", ".", "three €"]
        assert attachment.get_content() == b"\x00\r\n.\xff"


def queued_as(said: str) -> str:
    """Find the id in the reply to the last dot."""
    found = QUEUED.search(said)
    assert found, said
    return found[1]
