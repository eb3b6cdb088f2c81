"""Senders hear of recipients that are suppressed, and are suppressed themselves."""

import pytest

from relay.store.suppressions import MANUAL, Suppression
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.notified import (
    GONE,
    SENDER,
    no_report,
    notifications,
    one_report,
    prepared,
    send,
)


async def suppress(relay: Relay, *addresses: str) -> None:
    items = [Suppression("acme", address, "no such user", MANUAL, 1.0) for address in addresses]
    await relay.node.stores.suppressions.put(items)


@pytest.fixture
async def taking(start_node: StartNode, upstream: FakeUpstream) -> Relay:
    """A node that takes mail for those who are suppressed, as a tenant's setting of one is."""
    relay = await start_node(**{"smtp.suppressed": "accept"})
    await prepared(relay, upstream)
    await suppress(relay, "bob@there.test", "cid@there.test")
    return relay


async def test_mail_that_nobody_may_get_is_returned(taking: Relay, upstream: FakeUpstream) -> None:
    options = ("ENVID=Q1", "RET=FULL")
    pk = await send(taking, "bob@there.test", "cid@there.test", options=options)
    told = await one_report(upstream)
    assert list(told.groups) == ["bob@there.test", "cid@there.test"]
    group = told.groups["bob@there.test"]
    assert (group["Action"], group["Status"]) == ("failed", "5.7.1")
    assert group["Diagnostic-Code"] == "X-Pillarbox; mail to this address is suppressed"
    assert group["Remote-MTA"] is None
    assert told.about["Original-Envelope-Id"] == "Q1"
    assert told.about["X-Pillarbox-Queue-Id"] == pk
    assert b"The body." in told.raw
    assert await taking.states(pk) == ["failed", "failed"]
    assert await taking.node.spool.content(pk) is None
    body, _ = taking.node.metrics.render()
    assert b'pillarbox_dsns_total{tenant="acme"} 1.0' in body


async def test_the_others_get_it_and_notify_says_who_is_told_of(
    taking: Relay, upstream: FakeUpstream
) -> None:
    notify = {"cid@there.test": "NOTIFY=NEVER"}
    to = ("amy@there.test", "bob@there.test", "cid@there.test")
    pk = await send(taking, *to, notify=notify)
    told = await one_report(upstream, after=1)
    assert list(told.groups) == ["bob@there.test"]
    await taking.settled(pk, "sent", "failed", "failed")
    assert len(await notifications(taking)) == 1


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS,DELAY"])
async def test_who_asks_for_no_word_of_failures_gets_none(
    taking: Relay, upstream: FakeUpstream, notify: str
) -> None:
    parameters = {"bob@there.test": f"NOTIFY={notify}"}
    pk = await send(taking, "bob@there.test", notify=parameters)
    assert await taking.states(pk) == ["failed"]
    await no_report(taking, upstream)


async def test_a_sender_that_is_suppressed_is_told_of_nothing_by_mail(
    taking: Relay, upstream: FakeUpstream
) -> None:
    await suppress(taking, SENDER.lower())
    pk = await send(taking, "bob@there.test")
    assert await taking.states(pk) == ["failed"]
    assert "suppressed" in await taking.kinds(pk)
    await no_report(taking, upstream)


async def test_nor_of_what_an_upstream_refused(taking: Relay, upstream: FakeUpstream) -> None:
    await suppress(taking, SENDER.lower())
    upstream.on["RCPT"] = {"dan@there.test": GONE}
    pk = await send(taking, "dan@there.test")
    await taking.settled(pk, "failed")
    await no_report(taking, upstream)
