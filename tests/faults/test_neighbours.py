"""One bad upstream never slows another: mail of a healthy account is as quick beside thousands that
wait for upstreams which do not work.

The node is given few places and little memory, and the bad upstream more accounts than fill both.
"""

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.script import HANG, Rule, Slowly
from tests.fakes.upstream import FakeUpstream
from tests.faults.outside import Outside, outside

BAD_ACCOUNTS = 15
WAITING = 3000
HEALTHY = 60
EVERY_S = 0.05
# Far above what a busy machine needs, far below the time that a bad upstream holds on to a mail.
MOST_P95_S = 1.0
# Until the first of them count as slow they take places as any others.
MOST_AT_FIRST_S = 10.0
FEW_PLACES = {
    "dispatch.max_deliveries": 20,
    "dispatch.memory_bytes": 2_000_000,
    "dispatch.handover_messages": 300,
    "limits.max_waiting_per_tenant": 100_000,
    "upstream.connect_timeout_s": 20,
    "upstream.command_timeout_s": 20,
}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[Outside]:
    async with outside(tmp_path / "home", database_url, FEW_PLACES) as relay:
        yield relay


@dataclass(frozen=True, slots=True)
class Bad:
    """What the bad upstream does; `refuses`: nobody listens; `size_bytes` is of each mail."""

    on: Mapping[str, Rule] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    refuses: bool = False
    size_bytes: int = 100
    waiting: int = WAITING


BADS = {
    "U9-tarpit": Bad(on={"GREETING": Slowly("220-" + "x" * 500, 1)}),
    "U1-hangs-at-the-dot": Bad(on={"DOT": HANG}),
    "refuses-connections": Bad(refuses=True),
    "U10-stops-reading": Bad(on={"DATA": HANG}, size_bytes=20_000),
    "U23-slow-domain": Bad(delays={"MAIL": 3.0}, waiting=10_000),
}


@pytest.mark.parametrize("bad", BADS.values(), ids=BADS.keys())
async def test_a_healthy_account_is_as_quick_beside_a_bad_upstream(
    bad: Bad, relay: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeUpstream(keeps_content=True) as healthy:
        await relay.account(healthy.port)
        alone = await latencies(relay, healthy, "alone")
        async with FakeUpstream(on=bad.on, delays=bad.delays, keeps_content=False) as upstream:
            port = unused_port() if bad.refuses else upstream.port
            await have_waiting(relay, port, bad)
            at_first = await latencies(relay, healthy, "at-first")
            beside = await latencies(relay, healthy, "beside")
        with capsys.disabled():
            print(f"\n  alone {shown(alone)}; at first {shown(at_first)}; beside {shown(beside)}")
        assert at_first[-1] < MOST_AT_FIRST_S
        assert p95(beside) < MOST_P95_S


async def have_waiting(relay: Outside, port: int, bad: Bad) -> None:
    """Give thousands of mails for accounts of another tenant, and let their deliveries begin."""
    await relay.post("/tenant", id="bulk")
    accounts = [f"bad{n}" for n in range(BAD_ACCOUNTS)]
    for name in accounts:
        await relay.account(port, name, tenant_id="bulk")
    mails = [
        {
            "id": f"b{n}",
            "tenant_id": "bulk",
            "account_id": accounts[n % BAD_ACCOUNTS],
            "from": "app@bulk.test",
            "to": "bob@there.test",
            "subject": "hello",
            "body": "x" * bad.size_bytes,
        }
        for n in range(bad.waiting)
    ]
    for start in range(0, bad.waiting, 500):
        await relay.post("/commands/add-messages", messages=mails[start : start + 500])


async def latencies(relay: Outside, upstream: FakeUpstream, prefix: str) -> list[float]:
    """Give mail at a steady pace; return the seconds from giving it to its arrival, in order."""
    given: dict[str, float] = {}
    before = len(upstream.received)
    for n in range(HEALTHY):
        address = f"{prefix}{n}@there.test"
        given[address] = time.time()
        await relay.give("rest", f"{prefix}{n}", [address])
        await asyncio.sleep(EVERY_S)
    await upstream.wait_for(before + HEALTHY, 30)
    return sorted(mail.at - given[mail.recipients[0]] for mail in upstream.received[before:])


def p95(latencies: list[float]) -> float:
    return latencies[len(latencies) * 95 // 100]


def shown(latencies: list[float]) -> str:
    median_ms = statistics.median(latencies) * 1000
    return f"median {median_ms:.0f} ms, p95 {p95(latencies) * 1000:.0f} ms"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
