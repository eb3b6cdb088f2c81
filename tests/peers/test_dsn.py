"""Notifications between a real client and a real Postfix."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from email import message_from_bytes, policy

import pytest

from relay.formats.bounce.model import Kind
from relay.formats.bounce.read import read_bounce
from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors
from tests.peers.postfix import Postfix
from tests.scenarios.conftest import Relay

pytestmark = pytest.mark.peers("postfix")

SENDER = "Ann@acme.test"
MAIL = b"From: Ann@acme.test\r\nSubject: hello\r\nMessage-ID: <m1@acme.test>\r\n\r\nThe body.\r\n"


@pytest.fixture(autouse=True)
async def way_out(relay: Relay, postfix: Postfix) -> None:
    await relay.node.stores.accounts.save(postfix.account())


async def give(doors: Doors, to: str, mail: Sequence[str], rcpt: Sequence[str]) -> None:
    """Send by smtplib with these parameters of MAIL and RCPT."""

    def session() -> None:
        context = ssl.create_default_context(cafile=doors.ca_file)
        with smtplib.SMTP("localhost", doors.port, timeout=20) as client:
            client.starttls(context=context)
            client.login(doors.user, doors.password)
            client.sendmail(SENDER, [to], MAIL, mail_options=mail, rcpt_options=rcpt)

    await asyncio.to_thread(session)


async def test_postfix_takes_the_notification_of_what_it_refused(
    doors: Doors, mailbox: FakeUpstream
) -> None:
    rcpt = ["NOTIFY=FAILURE", "ORCPT=rfc822;No+2BOne@Gone.Test"]
    await give(doors, "no@gone.test", ["RET=FULL", "ENVID=Q+2B1"], rcpt)
    [mail] = await mailbox.wait_for(1)
    assert (mail.sender, mail.recipients) == ("", (SENDER,))
    found = read_bounce(mail.content)
    assert found is not None
    assert found.kind is Kind.HARD
    [recipient] = found.recipients
    assert (recipient.status, recipient.reply_code) == ("5.1.1", 550)
    assert found.clues.envelope_id == "Q+1"
    parsed = message_from_bytes(mail.content, policy=policy.SMTP)
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "message/rfc822"]
    assert b"Original-Recipient: rfc822;No+One@Gone.Test" in mail.content
    assert b"The body." in mail.content


async def test_what_was_asked_for_passes_through_both(doors: Doors, mailbox: FakeUpstream) -> None:
    rcpt = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob+2BX@There.Test"]
    await give(doors, "bob@there.test", ["RET=HDRS", "ENVID=Q+2B1"], rcpt)
    [mail] = await mailbox.wait_for(1)
    assert mail.sender == SENDER
    said = "\n".join(mailbox.commands)
    for word in ("RET=HDRS", "ENVID=Q+2B1", "NOTIFY=SUCCESS,FAILURE", "rfc822;Bob+2BX@There.Test"):
        assert word in said
