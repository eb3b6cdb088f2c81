"""Mail that its client wants to be told of if it is late (RFC 2852, by-mode N)."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest

from relay.model import DsnWish
from relay.store.late import REPLY, tell_of_late
from relay.store.suppressions import MANUAL, Suppression
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.notified import (
    SENDER,
    no_report,
    notifications,
    one_report,
    prepared,
    send,
)
from tests.waiting import until

LATE = ("BY=-5;N",)
BUSY = "450 4.2.0 later"


async def late_ones(relay: Relay, pk: str) -> list[int | None]:
    """Return the recipients that events say are late."""
    events = await relay.node.stores.messages.events(pk)
    return [event.n for event in events if event.data.get("reply") == REPLY]


async def look(relay: Relay) -> None:
    """Do what the node does every few seconds, on two nodes at once, and again."""
    spool = relay.node.spool
    await asyncio.gather(tell_of_late(spool, 3600), tell_of_late(spool, 3600))
    await tell_of_late(spool, 3600)


@pytest.fixture
async def acme(relay: Relay, upstream: FakeUpstream) -> Relay:
    upstream.on["RCPT"] = lambda moment: None if moment.argument == SENDER else BUSY
    return await prepared(relay, upstream)


async def test_its_sender_is_notified_once_and_it_waits_on(
    acme: Relay, upstream: FakeUpstream
) -> None:
    pk = await send(acme, "bob@there.test", options=("BY=-5;N", "ENVID=Q1"))

    async def is_told() -> bool:
        return await late_ones(acme, pk) == [0]

    await until(is_told, timeout_s=20)
    told = await one_report(upstream)
    await look(acme)
    assert len(await notifications(acme)) == 1
    assert await late_ones(acme, pk) == [0]
    await acme.settled(pk, "deferred")
    assert told.mail["Auto-Submitted"] == "auto-replied"
    assert told.about["Original-Envelope-Id"] == "Q1"
    group = told.groups["bob@there.test"]
    assert (group["Action"], group["Status"]) == ("delayed", "4.0.0")
    assert group["Diagnostic-Code"] == "smtp; 450 4.2.0 later"
    assert group["Will-Retry-Until"] is not None


async def test_mail_that_was_not_tried_is_told_of_as_out_of_time(
    acme: Relay, upstream: FakeUpstream
) -> None:
    pk = await send(acme, "bob@there.test", options=("BY=-5;N", "HOLDFOR=3600"))
    await look(acme)
    told = await one_report(upstream)
    group = told.groups["bob@there.test"]
    assert (group["Action"], group["Status"]) == ("delayed", "4.4.7")
    assert group["Diagnostic-Code"] == f"X-Pillarbox; {REPLY}"
    accepted_at = (await acme.view(pk)).accepted_at
    deliver_by = parsedate_to_datetime(told.about["Deliver-By-Date"])
    assert deliver_by.timestamp() == pytest.approx(accepted_at - 5, abs=1)


async def test_mail_that_went_in_time_is_not_told_of(relay: Relay, upstream: FakeUpstream) -> None:
    await prepared(relay, upstream)
    pk = await send(relay, "bob@there.test", options=LATE)
    await relay.settled(pk, "sent")
    await look(relay)
    assert await late_ones(relay, pk) == []
    await no_report(relay, upstream)


async def test_notify_says_of_whom(acme: Relay, upstream: FakeUpstream) -> None:
    notify = {
        "amy@there.test": "NOTIFY=NEVER",
        "bob@there.test": "NOTIFY=FAILURE",
        "dan@there.test": "NOTIFY=DELAY ORCPT=rfc822;Dan@There.Test",
    }
    to = ("amy@there.test", "bob@there.test", "cid@there.test", "dan@there.test")
    pk = await send(acme, *to, notify=notify, options=LATE)
    await look(acme)
    told = await one_report(upstream)
    assert list(told.groups) == ["cid@there.test", "dan@there.test"]
    assert told.groups["dan@there.test"]["Original-Recipient"] == "rfc822;Dan@There.Test"
    assert await late_ones(acme, pk) == [0, 1, 2, 3]


async def test_nobody_is_told_of_mail_without_a_sender(acme: Relay, upstream: FakeUpstream) -> None:
    pk = await send(acme, "bob@there.test", sender="", options=LATE)
    await look(acme)
    assert await late_ones(acme, pk) == [0]
    await no_report(acme, upstream)


async def test_a_tenant_that_wants_no_notifications_gets_the_event_alone(
    relay: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = lambda _moment: BUSY
    await prepared(relay, upstream, dsn=DsnWish.NEVER)
    pk = await send(relay, "bob@there.test", options=LATE)
    await look(relay)
    assert await late_ones(relay, pk) == [0]
    await no_report(relay, upstream)


async def test_a_sender_that_is_suppressed_is_not_mailed(
    acme: Relay, upstream: FakeUpstream
) -> None:
    gone = Suppression("acme", SENDER.lower(), "no such user", MANUAL, 1.0)
    await acme.node.stores.suppressions.put([gone])
    pk = await send(acme, "bob@there.test", options=LATE)
    await look(acme)
    assert await late_ones(acme, pk) == [0]
    await no_report(acme, upstream)


async def test_the_time_that_was_asked_for_goes_before_that_of_the_settings(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**{"dsn.delay_warning_s": 0.2, "retry.waits_s": [0.1]})
    await prepared(relay, upstream)
    upstream.on["RCPT"] = lambda moment: None if moment.argument == SENDER else BUSY
    pk = await send(relay, "bob@there.test", options=LATE)
    later = await send(relay, "cid@there.test", options=("BY=3600;N",))
    await look(relay)

    async def tried_again() -> bool:
        views = [await relay.view(one) for one in (pk, later)]
        return all(view.recipients[0].attempts > 6 for view in views)

    await until(tried_again)
    told = await one_report(upstream)
    assert list(told.groups) == ["bob@there.test"]
    assert len(await notifications(relay)) == 1


async def test_received_names_the_priority_that_was_asked_for(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await prepared(relay, upstream)
    pk = await send(relay, "bob@there.test", options=("MT-PRIORITY=-3",))
    await relay.settled(pk, "sent")
    received = upstream.received[0].content.partition(b"\r\nX-Pillarbox-ID")[0]
    assert f"\r\n\tid {pk}\r\n\tPRIORITY -3;\r\n".encode() in received
