"""U10, U22: the upstream behaves and the way to it does not. All mail arrives, and twice only what
REST says may have arrived twice.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.wire import Wire
from tests.faults.outside import Json, Outside, outside

MEGABYTE = 1024 * 1024
MAILS = 40
CONNECTIONS = 5
QUICK_AGAIN = {"retry.waits_s": [0.3], "upstream.data_timeout_s": 1}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[Outside]:
    async with outside(tmp_path / "home", database_url, QUICK_AGAIN) as relay:
        yield relay


async def test_a_big_mail_has_the_time_that_a_slow_reader_needs(relay: Outside) -> None:
    """U10: ten megabytes at four a second, where the reply to a small mail has one second."""
    async with FakeUpstream() as upstream, Wire(upstream.port, rate_bytes_s=4 * MEGABYTE) as wire:
        await relay.account(wire.port)
        line = "0123456789 " * 6 + "\r\n"
        text = line * (10 * MEGABYTE // len(line))
        await relay.give("smtp", "big", ["bob@there.test"], text)
        record = await relay.ends("big", timeout_s=30)
        [attempt] = record["attempts"]
        assert record["status"] == "sent"
        assert attempt["ended_at"] - attempt["started_at"] > 2
        [mail] = upstream.received
        assert mail.content.endswith(text.encode() + b"\r\n")


async def test_a_late_wire_costs_time_and_nothing_else(relay: Outside) -> None:
    """U22: every block is late."""
    async with FakeUpstream() as upstream, Wire(upstream.port, delay_s=0.05) as wire:
        await relay.account(wire.port)
        records = await sent(relay)
        assert all(len(record["attempts"]) == 1 for record in records)
        assert set(arrivals(upstream).values()) == {1}


async def test_a_wire_that_is_cut_again_and_again_loses_nothing(relay: Outside) -> None:
    """U22: the connections are cut in the middle of whatever they carry."""
    async with FakeUpstream() as upstream, Wire(upstream.port, delay_s=0.01) as wire:
        await relay.account(wire.port)
        cutting = asyncio.create_task(cut_often(wire))
        records = await sent(relay)
        cutting.cancel()
        assert wire.connections > CONNECTIONS
        arrived = arrivals(upstream)
        for record in records:
            [recipient] = record["recipients"]
            assert 1 <= arrived[recipient["address"]] <= 1 + doubts(record)
            # What is in doubt waits as after any failed attempt: nobody is hammered.
            assert len(record["attempts"]) <= 12


async def cut_often(wire: Wire) -> None:
    for _ in range(10):
        await asyncio.sleep(0.1)
        wire.cut()


async def sent(relay: Outside) -> list[Json]:
    names = [f"m{n}" for n in range(MAILS)]
    for name in names:
        await relay.give("rest", name, [f"{name}@there.test"])
    records = [await relay.ends(name, timeout_s=30) for name in names]
    assert {record["status"] for record in records} == {"sent"}
    return records


def arrivals(upstream: FakeUpstream) -> Counter[str]:
    return Counter(mail.recipients[0] for mail in upstream.received)


def doubts(record: Json) -> int:
    outcomes = [outcome for attempt in record["attempts"] for outcome in attempt["outcomes"]]
    return sum(outcome["verdict"] == "unknown" for outcome in outcomes)
