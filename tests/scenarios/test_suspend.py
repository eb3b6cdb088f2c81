"""A tenant that holds its mail back, seen from the upstream."""

import asyncio

from tests.fakes.upstream import Action, FakeUpstream, Moment
from tests.scenarios.conftest import Relay


async def test_suspended_mail_is_not_sent_and_goes_at_once_when_it_is_activated(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    await relay.node.stores.batches.suspend("acme", "news")
    held = await relay.send("held@there.test", batch_code="news")
    free = await relay.send("free@there.test")
    await relay.settled(free.pk, "sent")
    assert await relay.states(held.pk) == ["suspended"]
    await relay.node.stores.batches.activate("acme", "news")
    await relay.settled(held.pk, "sent")


async def test_mail_that_waits_in_memory_is_held_while_what_is_being_sent_goes_on(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream, max_connections=1)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_moment: Moment) -> Action:
        reached.set()
        await go_on.wait()
        return None

    upstream.on["DOT"] = wait
    first = await relay.send("first@there.test")
    await reached.wait()
    # The connection may be promised to the next one, which then counts as being sent.
    await relay.send("next@there.test")
    others = [await relay.send(f"r{n}@there.test") for n in range(5)]
    await relay.node.stores.batches.suspend("acme", None)
    go_on.set()
    await relay.settled(first.pk, "sent")
    for other in others:
        await relay.settled(other.pk, "suspended")
    assert len(upstream.received) <= 2
    await relay.node.stores.batches.activate("acme", None)
    for other in others:
        await relay.settled(other.pk, "sent")
    await upstream.wait_for(7)


async def test_mail_that_an_upstream_defers_while_it_is_suspended_is_not_tried_again(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["RCPT"] = "450 4.2.0 busy"
    accepted = await relay.send()
    await relay.settled(accepted.pk, "deferred")
    await relay.node.stores.batches.suspend("acme", None)
    await relay.settled(accepted.pk, "suspended")
    upstream.on.pop("RCPT")
    await relay.node.stores.batches.activate("acme", None)
    await relay.settled(accepted.pk, "sent")
