"""Delivery reports, row by row of the contract: what clients do, and what we make of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import chain, repeat

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from relay.store.database import Each, Script, Value
from tests.fakes.client import Call, FakeClient, Reply, ok
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.waiting import until

QUICK = {
    "callback.poll_s": 0.02,
    "callback.timeout_s": 1,
    "callback.retry_waits_s": [0.1],
    "callback.max_answer_bytes": 10_000,
    "callback.max_events": 100,
}
SECRETS = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
)


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with FakeClient() as server:
        yield server


@pytest.fixture
async def node(start_node: StartNode) -> Relay:
    return await start_node(**QUICK)


async def called(relay: Relay, client: FakeClient, tenant_id: str = "acme", **more: object) -> None:
    """Make a tenant that is called, and wait for its first heartbeat."""
    await relay.tenant(tenant_id, client_base_url=client.url, **more)
    await client.wait_for(lambda c: len(c.calls) >= 1)


def insert_events(tenant_id: str, count: int, now: float, kind: str = "sent") -> Script[None]:
    rows: list[tuple[Value, ...]] = [
        (f"{tenant_id}-{n:06}", int(now * 1e6) + n, tenant_id, kind, now, '{"reply": "ok"}')
        for n in range(count)
    ]
    yield Each(
        "INSERT INTO events (message_pk, seq, tenant_id, n, kind, at, data, report)"
        " VALUES ($1, $2, $3, 0, $4, $5, $6, 'waiting')",
        rows,
    )


async def happen(relay: Relay, count: int, tenant_id: str = "acme", *, age_s: float = 0) -> None:
    """Have events in the outbox, without mail behind them; their ids are `acme-000000` and on."""
    database = relay.node.database
    now = database.now() - age_s
    await database.write(lambda: insert_events(tenant_id, count, now))


async def reports(relay: Relay) -> dict[str, int]:
    """Count the events by what became of their report."""
    rows = await relay.node.database.fetch(
        "SELECT report, COUNT(*) AS events FROM events WHERE report <> 'none' GROUP BY report"
    )
    return {row["report"]: row["events"] for row in rows}


async def until_reports(relay: Relay, **wanted: int) -> None:
    async def reached() -> bool:
        return await reports(relay) == wanted

    await until(reached)


def answers(*replies: Reply) -> Iterator[Reply]:
    """Give these replies, then ok for ever."""
    return chain(replies, repeat(ok()))


def misbehaves_once(client: FakeClient, *replies: Reply) -> None:
    """Give these replies to the next calls that tell something."""
    left = answers(*replies)
    client.answer = lambda call: next(left) if call.entries else ok()


# What is told.


async def test_a_mail_that_was_sent_is_reported_with_all_that_is_known(
    node: Relay, client: FakeClient, upstream: FakeUpstream
) -> None:
    await called(node, client, client_sync_path="/hook?a=b")
    await node.account(upstream)
    sent = await node.send("bob@there.test", id="m1", metadata='{"order": 7}')
    await client.wait_for(lambda c: len(c.entries) == 1)
    entry = client.entries[0]
    assert entry.pop("sent_ts") == pytest.approx(node.node.spool.now(), abs=10)
    seq = entry.pop("seq")
    assert entry == {
        "id": "m1",
        "pk": sent.pk,
        "tenant_id": "acme",
        "event_id": f"{sent.pk}.{seq}",
        "recipient": "bob@there.test",
        "metadata": {"order": 7},
        "account_id": "main",
        "code": 250,
    }
    call = client.full[0]
    assert call.path == "/hook?a=b"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["accept-encoding"] == "identity"
    assert call.headers["host"] == f"127.0.0.1:{client.port}"
    assert "authorization" not in call.headers
    await until_reports(node, done=1)
    view = await node.view(sent.pk)
    assert view.reported_at == pytest.approx(node.node.spool.now(), abs=10)


async def test_waits_and_failures_are_reported_in_their_order(
    node: Relay, client: FakeClient, upstream: FakeUpstream
) -> None:
    await called(node, client)
    await node.account(upstream)
    upstream.on["RCPT"] = "450 4.2.0 later"
    sent = await node.send("bob@there.test", id="m1")
    await node.settled(sent.pk, "deferred")
    upstream.on["RCPT"] = "550 5.1.1 no such user"
    await client.wait_for(lambda c: any("error" in e for e in c.entries))
    entries = client.entries
    assert "later" in entries[0]["deferred_reason"]
    assert entries[0]["deferred_ts"] > 1_700_000_000
    assert "no such user" in entries[-1]["error"]
    assert entries[-1]["code"] == 550
    assert [e["seq"] for e in entries] == sorted(e["seq"] for e in entries)
    assert {e["id"] for e in entries} == {"m1"}


async def test_a_tenant_without_a_url_is_not_called_and_keeps_nothing_waiting(
    node: Relay, upstream: FakeUpstream
) -> None:
    await node.tenant("acme")
    await node.account(upstream)
    sent = await node.send()
    await node.settled(sent.pk, "sent")
    assert await reports(node) == {}


async def test_a_tenant_is_called_with_an_empty_list_in_time(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.interval_s": 0.3})
    await called(relay, client)
    await client.wait_for(lambda c: len(c.calls) >= 4)
    gaps = [b.at - a.at for a, b in zip(client.calls, client.calls[1:], strict=False)]
    assert max(gaps) < 0.3 + 0.5
    assert min(gaps) > 0.2
    assert all(call.entries == [] for call in client.calls)


async def test_a_tenant_whose_url_is_taken_away_is_not_called_any_more(
    node: Relay, client: FakeClient
) -> None:
    await called(node, client)
    await node.tenant("acme", client_base_url=None)
    await happen(node, 3)
    count = len(client.calls)
    node.node.run_now(None)
    async with FakeClient() as other:
        await called(node, other, "other")
    assert len(client.calls) == count
    await node.tenant("acme", client_base_url=client.url)
    await client.wait_for(lambda c: len(c.entries) == 3)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"method": "none"}, None),
        ({"method": "bearer", "token": "s3cret"}, "Bearer s3cret"),
        ({"method": "basic", "user": "ü", "password": "p:w"}, "Basic w7w6cDp3"),
    ],
)
async def test_the_client_sees_the_login_it_gave(
    node: Relay, client: FakeClient, auth: dict[str, str], header: str | None
) -> None:
    await called(node, client, client_auth=auth)
    assert client.calls[0].headers.get("authorization") == header


async def test_a_report_is_signed_with_both_secrets_while_they_change(
    node: Relay, client: FakeClient
) -> None:
    await called(node, client, callback_secret=" ".join(SECRETS))
    await happen(node, 2)
    await client.wait_for(lambda c: len(c.entries) == 2)
    call = client.full[0]
    for secret in SECRETS:
        assert Webhook(secret).verify(call.body, call.headers) == json.loads(call.body)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(call.body + b" ", call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").verify(call.body, call.headers)
    await node.tenant("acme", client_base_url=client.url)
    await happen(node, 1, age_s=60)
    await client.wait_for(lambda c: len(c.entries) == 3)
    assert "webhook-signature" not in client.full[-1].headers


async def test_batches_are_bounded_and_oldest_first(node: Relay, client: FakeClient) -> None:
    await called(node, client)
    await happen(node, 250)
    await client.wait_for(lambda c: len(c.entries) == 250)
    assert [len(call.entries) for call in client.full] == [100, 100, 50]
    assert [e["id"] for e in client.entries] == [f"acme-{n:06}" for n in range(250)]
    await until_reports(node, done=250)


# What clients do.


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(404),
        Reply(429, headers={"Retry-After": "0"}),
        Reply(200, b'{"ok": false}'),
        Reply(200, drip_s=0.3),
        Reply(hangs=True),
        Reply(200, headers={"Content-Length": "999"}),
    ],
    ids=["500", "404", "429", "ok:false", "drip", "hangs", "cut"],
)
async def test_what_is_not_acknowledged_is_told_again_with_the_same_event_ids(
    node: Relay, client: FakeClient, reply: Reply
) -> None:
    misbehaves_once(client, reply)
    await called(node, client)
    await happen(node, 3)
    await client.wait_for(lambda c: len(c.full) >= 2, timeout_s=15)
    await until_reports(node, done=3)
    first, told = client.full[0].entries, client.entries[3:]
    assert [e["event_id"] for e in told] == [e["event_id"] for e in first]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"thanks"),
        Reply(200, b"{}"),
        Reply(204, b""),
        Reply(200, b"x" * 100_000),
        Reply(200, json.dumps({"not_found": ["acme-000000"]}).encode()),
    ],
    ids=["text", "no ok", "204", "huge", "not found"],
)
async def test_any_other_2xx_acknowledges(node: Relay, client: FakeClient, reply: Reply) -> None:
    misbehaves_once(client, reply)
    await called(node, client)
    await happen(node, 3)
    await until_reports(node, done=3)
    assert len(client.full) == 1


async def test_a_redirect_is_not_followed(node: Relay, client: FakeClient) -> None:
    async with FakeClient() as trap:
        misbehaves_once(client, Reply(307, headers={"Location": f"{trap.url}/"}))
        await called(node, client)
        await happen(node, 1)
        await until_reports(node, done=1)
        assert len(client.full) == 2
        assert trap.calls == []


async def test_a_client_that_asks_for_time_gets_it(node: Relay, client: FakeClient) -> None:
    misbehaves_once(client, Reply(429, headers={"Retry-After": "1"}))
    await called(node, client)
    await happen(node, 1)
    await client.wait_for(lambda c: len(c.full) == 2)
    assert client.full[1].at - client.full[0].at >= 1


async def test_a_client_that_was_down_hears_everything_in_the_end(
    node: Relay, client: FakeClient
) -> None:
    await node.tenant("acme", client_base_url=client.url)
    port = client.port
    await client.stop()
    await happen(node, 150)

    async def has_failed() -> bool:
        rows = await node.node.database.fetch("SELECT failures FROM reporters")
        return bool(rows[0]["failures"] >= 4)

    await until(has_failed)
    count = len(client.calls)
    client._server = await asyncio.start_server(client._serve, "127.0.0.1", port)
    await until_reports(node, done=150)
    told = client.calls[count:]
    assert len(told[0].entries) < 10
    assert [e["seq"] for e in client.entries] == sorted(e["seq"] for e in client.entries)


async def test_refused_ids_come_again_with_the_next_heartbeat_and_hold_nobody_up(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.interval_s": 0.5})
    misbehaves_once(client, ok(error=["acme-000001"]))
    await called(relay, client)
    await happen(relay, 3)
    await until_reports(relay, done=2, held=1)
    await happen(relay, 1, "other")
    await until_reports(relay, done=3, waiting=1)
    assert client.full[1].ids == ["acme-000001"]
    assert client.full[1].at - client.full[0].at > 0.1


async def test_what_follows_a_refused_event_of_its_message_waits_for_it(
    node: Relay, client: FakeClient
) -> None:
    misbehaves_once(client, ok(error=["acme-000000"]))
    await called(node, client)
    await happen(node, 2, age_s=100)
    await until_reports(node, done=1, held=1)
    await happen(node, 2, age_s=50)
    await until_reports(node, done=2, held=2)
    node.node.run_now("acme")
    await until_reports(node, done=4)
    times = [e["seq"] for e in client.entries if e["id"] == "acme-000000"]
    assert times[0] == times[1] < times[2]


async def test_a_client_with_more_mail_queued_is_called_again_but_not_for_ever(
    start_node: StartNode, client: FakeClient
) -> None:
    client.answer = lambda _call: ok(queued=1)
    relay = await start_node(**QUICK, **{"callback.max_calls": 4})
    await called(relay, client)
    await client.wait_for(lambda c: len(c.calls) == 4)
    async with FakeClient() as other:
        await called(relay, other, "other")
    assert len(client.calls) == 4


async def test_do_not_disturb_stops_heartbeats_but_not_events_nor_run_now(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.interval_s": 0.2})
    until_then = relay.node.spool.now() + 600
    client.answer = lambda _call: ok(next_sync_after=until_then)
    await called(relay, client)
    async with FakeClient() as other:
        await called(relay, other, "other")
        await other.wait_for(lambda c: len(c.calls) == 4)
    assert len(client.calls) == 1
    await happen(relay, 1)
    await client.wait_for(lambda c: len(c.full) == 1)
    relay.node.run_now("acme")
    await client.wait_for(lambda c: len(c.calls) == 3)
    assert client.calls[-1].entries == []


async def test_what_a_client_refused_comes_again_though_it_asked_for_rest(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.interval_s": 0.3})
    far = relay.node.spool.now() + 600
    misbehaves_once(client, ok(error=["acme-000001"], next_sync_after=far))
    await called(relay, client)
    await happen(relay, 2)
    await until_reports(relay, done=2)
    assert client.full[1].ids == ["acme-000001"]


async def test_run_now_makes_a_call_due_at_once_even_after_failures(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**{**QUICK, "callback.retry_waits_s": [600]})
    misbehaves_once(client, Reply(500))
    await called(relay, client)
    await happen(relay, 1)
    await client.wait_for(lambda c: len(c.full) == 1)
    await until_reports(relay, waiting=1)
    relay.node.run_now("acme")
    await until_reports(relay, done=1)


async def test_a_dead_url_with_ten_thousand_events_delays_no_other_tenant(
    node: Relay, client: FakeClient
) -> None:
    async with FakeClient(lambda _call: Reply(hangs=True)) as dead:
        await node.tenant("dead", client_base_url=dead.url)
        await happen(node, 10_000, "dead")
        await dead.wait_for(lambda c: len(c.full) >= 1)
        await called(node, client)
        for round_ in range(1, 4):
            started = asyncio.get_running_loop().time()
            await happen(node, 1, age_s=round_ * 10)
            await client.wait_for(lambda c, n=round_: len(c.entries) == n, 5)  # type: ignore[misc]
            assert client.calls[-1].at - started < 1
        backlog = await node.node.stores.events.backlog()
        assert backlog["dead"] == 10_000


async def test_dead_urls_leave_half_of_the_calls_to_those_that_answer(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.concurrency": 4})
    async with FakeClient(lambda _call: Reply(hangs=True)) as dead:
        for n in range(8):
            await relay.tenant(f"dead{n}", client_base_url=dead.url)
            await happen(relay, 1, f"dead{n}")

        async def all_have_failed() -> bool:
            rows = await relay.node.database.fetch("SELECT MIN(failures) AS least FROM reporters")
            return bool(rows[0]["least"] >= 1)

        await until(all_have_failed, timeout_s=20)
        started = asyncio.get_running_loop().time()
        await called(relay, client)
        assert client.calls[0].at - started < 0.5


async def test_what_no_client_takes_for_long_is_parked_and_can_be_replayed(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"callback.give_up_s": 1})
    client.answer = lambda call: Reply(500) if call.entries else ok()
    await called(relay, client)
    await happen(relay, 3)
    await until_reports(relay, parked=3)
    assert client.full[-1].at - client.full[0].at >= 0.9
    events = relay.node.stores.events
    parked = await events.parked("acme", None, 10)
    assert [event.id for event in parked] == ["acme-000000", "acme-000001", "acme-000002"]
    assert await events.parked("other", None, 10) == []
    client.answer = lambda _call: ok()
    assert await events.replay("other", [parked[0].place]) == 0
    assert await events.replay("acme", [parked[0].place]) == 1
    await until_reports(relay, parked=2, done=1)
    assert await events.replay("acme", None) == 2
    await until_reports(relay, done=3)


async def test_what_a_client_refuses_for_long_is_parked_alone(
    start_node: StartNode, client: FakeClient
) -> None:
    settings = {**QUICK, "callback.give_up_s": 1, "callback.interval_s": 0.2}
    relay = await start_node(**settings)
    client.answer = lambda _call: ok(error=["acme-000001"])
    await called(relay, client)
    await happen(relay, 3)
    await until_reports(relay, parked=1, done=2)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "http://10.255.255.1", "http://[fe80::1]", "http://0/"]
)
async def test_a_private_address_is_not_called(node: Relay, url: str) -> None:
    await node.tenant("acme", client_base_url=url)

    async def has_failed() -> bool:
        rows = await node.node.database.fetch("SELECT failures FROM reporters")
        return bool(rows[0]["failures"])

    await until(has_failed, timeout_s=2)


async def test_loopback_is_not_called_by_a_node_that_listens_elsewhere(
    start_node: StartNode, client: FakeClient
) -> None:
    relay = await start_node(**QUICK, **{"http.listen": "0.0.0.0:0"})
    await relay.tenant("acme", client_base_url=client.url)

    async def has_failed() -> bool:
        rows = await relay.node.database.fetch("SELECT failures FROM reporters")
        return bool(rows[0]["failures"])

    await until(has_failed)
    assert client.calls == []
    await relay.stop()
    relay = await start_node(
        **QUICK, **{"http.listen": "0.0.0.0:0", "callback.allowed_networks": "127.0.0.0/8"}
    )
    await client.wait_for(lambda c: len(c.calls) == 1)


async def test_a_secret_that_cannot_be_used_is_a_failure_and_not_the_end(
    node: Relay, client: FakeClient
) -> None:
    await node.tenant("acme", client_base_url=client.url, callback_secret="!")
    await called(node, client, "other")
    assert len(client.calls) == 1


# Nodes come and go.


async def test_an_event_that_was_posted_but_not_acknowledged_is_told_again_by_the_next_life(
    start_node: StartNode, client: FakeClient
) -> None:
    client.answer = lambda call: Reply(hangs=True) if call.entries else ok()
    relay = await start_node(**{**QUICK, "callback.timeout_s": 60, "dispatch.drain_s": 0})
    await called(relay, client)
    await happen(relay, 1)
    await client.wait_for(lambda c: len(c.full) == 1)
    await relay.stop()
    client.answer = lambda _call: ok()
    relay = await start_node(**QUICK)
    await until_reports(relay, done=1)
    first, second = client.full
    assert first.entries == second.entries


async def test_a_node_that_stops_lets_its_calls_end(
    start_node: StartNode, client: FakeClient
) -> None:
    client.answer = lambda call: Reply(drip_s=0.02) if call.entries else ok()
    relay = await start_node(**QUICK)
    await called(relay, client)
    await happen(relay, 1)
    await client.wait_for(lambda c: len(c.full) == 1)
    await relay.stop()
    relay = await start_node(**QUICK)
    assert await reports(relay) == {"done": 1}


def test_calls_are_kept_as_they_came() -> None:
    assert Call("/", {}, b'{"delivery_report": [{"id": "a"}]}', 0).ids == ["a"]
