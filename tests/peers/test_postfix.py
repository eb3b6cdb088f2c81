"""Delivery to a real Postfix: TLS, logins, replies, and every byte of the mail."""

from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import trustme

from relay.model import Account, TlsMode
from tests.fakes.upstream import FakeUpstream
from tests.peers.postfix import USER, Postfix
from tests.scenarios.conftest import Relay
from tests.scenarios.large_mail import BIG, SMALL, config, mail_with, untouched
from tests.waiting import until

pytestmark = pytest.mark.peers("postfix")

MAIL = (
    b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <exact@acme.test>\r\n"
    b"From: =?utf-8?q?J=C3=B6rg?= <app@acme.test>\r\n"
    b"To: Bob\r\n <bob@there.test>\r\n"
    b"Subject:  two  blanks \r\n"
    b"X-Empty:\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b".\r\n..\r\n. a dot first\r\n"
    b"trailing blanks  \t\r\n"
    b"From a line that mbox would quote\r\n"
    b"\xc3\xa4\xe2\x82\xac %s\r\n\r\n\r\n" % (b"x" * 980)
)


async def save(relay: Relay, account: Account) -> None:
    await relay.node.stores.accounts.save(account)


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
async def test_a_mail_arrives_byte_for_byte_through_tls_and_login(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream, tls: TlsMode
) -> None:
    await save(relay, postfix.account(tls=tls))
    accepted = await relay.send("bob@there.test", content=MAIL)
    await relay.settled(accepted.pk, "sent")
    [mail] = await mailbox.wait_for(1)
    assert mail.content.endswith(b"\r\n" + MAIL)
    trace = mail.content.removesuffix(MAIL)
    assert trace.count(b"Received:") == 2
    assert b"with ESMTPSA" in trace
    assert (mail.sender, mail.recipients) == ("app@acme.test", ("bob@there.test",))


async def test_each_recipient_gets_the_answer_postfix_gave_it(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream
) -> None:
    await save(relay, postfix.account())
    accepted = await relay.send("yes@there.test", "no@gone.test", "busy@later.test")
    view = await relay.settled(accepted.pk, "sent", "failed", "deferred")
    assert [r.code for r in view.recipients] == [250, 550, 450]
    assert "5.1.1" in (view.recipients[1].reply or "")
    [mail] = await mailbox.wait_for(1)
    assert mail.recipients == ("yes@there.test",)


async def test_a_hundred_mails_share_a_few_connections_and_arrive_once(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream
) -> None:
    await save(relay, postfix.account(max_connections=3))
    logins_before = postfix.log.count("disconnect from")
    sent = [await relay.send(f"r{i}@there.test") for i in range(100)]
    await mailbox.wait_for(100, 30)
    for accepted in sent:
        await relay.settled(accepted.pk, "sent")
    assert len({mail.recipients for mail in mailbox.received}) == len(mailbox.received) == 100
    assert postfix.log.count("disconnect from") - logins_before <= 3


async def test_a_wrong_password_rests_the_account_and_costs_the_mail_no_attempt(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream
) -> None:
    await save(relay, postfix.account(password="wrong"))
    refusal = f"authentication failed: (reason unavailable), sasl_username={USER}"
    refusals_before = postfix.log.count(refusal)
    accepted = await relay.send("bob@there.test")

    async def refused_twice() -> bool:
        return postfix.log.count(refusal) >= refusals_before + 2

    await until(refused_twice)
    [recipient] = (await relay.view(accepted.pk)).recipients
    assert (recipient.state, recipient.attempts) == ("queued", 0)
    await save(relay, postfix.account())
    view = await relay.settled(accepted.pk, "sent")
    assert view.recipients[0].attempts == 1
    await mailbox.wait_for(1)


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_certificate_that_does_not_verify_never_sees_the_password(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream, tmp_path: Path, wrong: str
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    right = postfix.account()
    faulty = replace(right, host="127.0.0.1")
    if wrong == "authority":
        faulty = replace(right, ca_file=str(stranger))
    seen = len(postfix.log)
    await save(relay, faulty)
    accepted = await relay.send("bob@there.test")

    async def hung_up_twice() -> bool:
        return postfix.log[seen:].count("disconnect from") >= 2

    await until(hung_up_twice)
    assert "sasl" not in postfix.log[seen:]
    assert "auth=" not in postfix.log[seen:]
    assert "mail=" not in postfix.log[seen:]
    [recipient] = (await relay.view(accepted.pk)).recipients
    assert (recipient.state, recipient.attempts) == ("queued", 0)
    await save(relay, right)
    await relay.settled(accepted.pk, "sent")
    await mailbox.wait_for(1)


async def test_a_mail_whose_large_file_became_a_link_arrives_part_by_part(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream, tmp_path: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(tmp_path / "files"))
    await save(relay, postfix.account())
    content = mail_with(("big.pdf", BIG), ("small.pdf", SMALL))
    accepted = await relay.send("bob@there.test", content=content)
    await relay.settled(accepted.pk, "sent")
    [mail] = await mailbox.wait_for(1)
    assert untouched(mail.content) == untouched(content)[1:]
    parts = message_from_bytes(mail.content, policy=policy.default).walk()
    texts = [part.get_content() for part in parts if part.get_content_maintype() == "text"]
    (stored,) = (tmp_path / "files").glob("acme/*")
    assert stored.read_bytes() == BIG
    assert len(texts) == 2
    assert all("/download/" in text for text in texts)
