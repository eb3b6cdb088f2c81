"""Reports of several nodes and lives: each event is told once, or again by the same name."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.client import FakeClient, Reply, ok
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.conftest import Relay, open_node
from tests.scenarios.test_crash import message, prepare
from tests.scenarios.test_reports import QUICK, happen, until_reports

TENANTS = 5
EVENTS = 400


@pytest.fixture
async def two_nodes(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[tuple[Relay, Relay]]:
    relays = []
    for name in ("one", "two"):
        node = await open_node(tmp_path / "home", postgres_dsn, name=name, **QUICK)
        await node.start()
        relays.append(Relay(node))
    yield relays[0], relays[1]
    for relay in relays:
        await relay.stop()


async def test_two_nodes_tell_each_event_once_and_in_order(
    two_nodes: tuple[Relay, Relay],
) -> None:
    one, two = two_nodes
    async with FakeClient() as client:
        for n in range(TENANTS):
            await one.tenant(f"t{n}", client_base_url=client.url)
        for part in range(4):
            for n in range(TENANTS):
                relay = (one, two)[(part + n) % 2]
                await happen(relay, EVENTS // 4, f"t{n}", age_s=100 - part)
        await until_reports(two, done=TENANTS * EVENTS)
        counts = Counter(entry["event_id"] for entry in client.entries)
        assert len(counts) == TENANTS * EVENTS
        assert max(counts.values()) == 1
        for n in range(TENANTS):
            told = [e["seq"] for e in client.entries if e["tenant_id"] == f"t{n}"]
            assert told == sorted(told)


async def test_the_calls_of_a_node_that_died_are_taken_over_by_the_other(
    postgres_dsn: str, tmp_path: Path
) -> None:
    lease = {"PILLARBOX_DISPATCH_LEASE_S": "2"}
    client = FakeClient(lambda call: Reply(hangs=True) if call.entries else ok())
    async with (
        client,
        FakeUpstream() as upstream,
        ServeProcess(tmp_path / "one", postgres_dsn, **lease) as one,
    ):
        await prepare(one, upstream)
        await one.client.put("/tenant/acme", json={"client_base_url": client.url})
        await one.post("/commands/add-messages", {"messages": [message(1)]})
        await client.wait_for(lambda c: len(c.full) == 1)
        async with ServeProcess(tmp_path / "two", postgres_dsn, **lease):
            await one.kill()
            client.answer = lambda _call: ok()
            await client.wait_for(lambda c: len(c.full) == 2)
            assert client.full[1].ids == client.full[0].ids
