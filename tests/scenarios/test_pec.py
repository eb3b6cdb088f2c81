"""Certified mail whose provider says nothing. What providers say: tests/peers/test_pec.py."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.client import FakeClient
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.waiting import until

QUICK: dict[str, Any] = {"callback.poll_s": 0.05, "pec.acceptance_timeout_s": 0.3}


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with FakeClient() as server:
        yield server


def told(client: FakeClient) -> list[Any]:
    return [entry for call in client.calls for entry in call.entries]


async def test_a_missing_acceptance_is_reported_once_by_whatever_nodes_run(
    start_node: StartNode, upstream: FakeUpstream, client: FakeClient, database_url: str
) -> None:
    relay = await start_node(**QUICK)
    others = [] if database_url.startswith("sqlite:") else [await start_node(**QUICK)]
    await relay.tenant("acme", client_base_url=client.url)
    await relay.account(upstream, is_pec_account=True)
    accepted = await relay.send("bob@pec.test", "ann@pec.test")
    await client.wait_for(lambda c: len(told(c)) >= 4)
    entries = told(client)
    assert ["sent_ts" in entry for entry in entries] == [True, True, False, False]
    assert [entry.get("pec_event") for entry in entries[2:]] == ["pec_timeout"] * 2
    assert {entry["recipient"] for entry in entries[2:]} == {"bob@pec.test", "ann@pec.test"}
    assert entries[2]["pec_details"] == "no acceptance in 0 minutes"
    assert (await relay.view(accepted.pk)).is_pec
    assert await relay.states(accepted.pk) == ["sent", "sent"]
    await relay.stop()
    for other in others:
        await other.stop()
    assert (await kinds_after(start_node, accepted.pk)).count("pec_timeout") == 2


async def kinds_after(start_node: StartNode, pk: str) -> list[str]:
    """Return what happened to a mail, once another node has looked."""
    relay: Relay = await start_node(**QUICK)

    async def looked() -> bool:
        return not await relay.node.database.fetch("SELECT n FROM pec_waits")

    await until(looked)
    return await relay.kinds(pk)


async def test_mail_that_is_not_certified_is_not_waited_for(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**QUICK)
    await relay.tenant("acme")
    await relay.account(upstream)
    accepted = await relay.send()
    await relay.settled(accepted.pk, "sent")
    assert await relay.node.database.fetch("SELECT n FROM pec_waits") == []
    assert not (await relay.view(accepted.pk)).is_pec
