"""One mail from the door to the upstream, and everything an upstream may say on the way."""

from relay.model import Priority

from .conftest import Relay, StartNode, FakeUpstream


async def test_an_accepted_mail_is_delivered_at_once(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    accepted = await relay.send("bob@there.test")
    [mail] = await upstream.wait_for(1, 5)
    assert mail.content.endswith(b"Subject: hello\r\n\r\nhi\r\n")
    view = await relay.settled(accepted.pk, "sent")
    assert view.final_at is not None
    assert await relay.kinds(accepted.pk) == ["accepted", "sent"]


async def test_a_hundred_mails_arrive_once_each(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    sent = [await relay.send(f"r{i}@there.test") for i in range(100)]
    await upstream.wait_for(100, 10)
    for accepted in sent:
        await relay.settled(accepted.pk, "sent")
    assert len({m.recipients for m in upstream.received}) == 100
    assert len(upstream.received) == 100


async def test_of_three_recipients_one_is_taken_one_refused_and_one_tried_again(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["RCPT"] = {"no@t.test": "550 5.1.1 no such user", "later@t.test": "450 4.2.0 busy"}
    accepted = await relay.send("yes@t.test", "no@t.test", "later@t.test")
    await upstream.wait_for(1, 5)
    await relay.settled(accepted.pk, "sent", "failed", "deferred")
    upstream.on["RCPT"] = {"no@t.test": "550 5.1.1 no such user"}
    view = await relay.settled(accepted.pk, "sent", "failed", "sent")
    assert [r.attempts for r in view.recipients] == [1, 1, 2]
    assert [m.recipients for m in upstream.received] == [("yes@t.test",), ("later@t.test",)]
