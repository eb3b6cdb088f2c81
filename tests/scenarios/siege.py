"""A node under attack: a process of its own, a neighbour that goes on sending, and a watchman.

What must hold whatever is done to the door: the neighbour's mails are all taken, and soon; no turn
of the event loop takes seconds; memory stays below what it was and a budget; and once the attackers
have left, no descriptor is left of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.attackers import BALANCER_IP, MEGABYTE, Victim
from tests.fakes.neighbour import Neighbour
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.vitals import descriptors, forget_peak, peak_bytes, resident_bytes
from tests.waiting import until

# Only a real stall is caught: the machine may be busy. What it takes at best, bench.door shows.
LONGEST_STALL_S = 3.0
LONGEST_WAIT_S = 10.0
LONGEST_ATTACK_S = 40.0
LOOK_EVERY_S = 0.05
# Connections that the upstream pool and the watchman keep.
KEPT_DESCRIPTORS = 5
NO_SETTINGS: Mapping[str, str] = {}


class Watchman:
    """Asks for /health again and again; `longest_s` is the longest it took."""

    def __init__(self, serve: ServeProcess) -> None:
        self._serve = serve
        self._has_enough = False
        self._task: asyncio.Task[None] | None = None
        self.longest_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._has_enough = True
        if self._task:
            await self._task

    async def _watch(self) -> None:
        while not self._has_enough:
            began_at = time.monotonic()
            assert (await self._serve.client.get("/health")).status_code == 200
            self.longest_s = max(self.longest_s, time.monotonic() - began_at)
            await asyncio.sleep(LOOK_EVERY_S)


@dataclass(slots=True)
class Siege:
    serve: ServeProcess
    victim: Victim
    budget_bytes: int

    async def accepted(self) -> int:
        """Return how many mails were taken since the start."""
        text = (await self.serve.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("pillarbox_messages_acc")]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines)


@asynccontextmanager
async def besieged(
    folder: Path, settings: Mapping[str, str] = NO_SETTINGS, budget_bytes: int = 20 * MEGABYTE
) -> AsyncIterator[Siege]:
    """Attack inside the block; at its end it is checked that nobody else has suffered.

    `settings` are variables of the environment. The budget unless given is for small things: 256 KB
    of unread octets for each of the ten connections of one address, and what Python itself takes
    for replies, log lines and mails of a few bytes, doubled.
    """
    proxies = {"PILLARBOX_SMTP_PROXY_NETWORKS": f"{BALANCER_IP}/32"}
    url = f"sqlite:{folder / 'pillarbox.db'}"
    async with (
        FakeUpstream(keeps_content=False) as upstream,
        ServeProcess(folder / "home", url, **proxies, **settings) as serve,
    ):
        siege = Siege(serve, await prepare(serve, upstream), budget_bytes)
        async with Neighbour(siege.victim) as neighbour:
            await until(lambda: has_sent(neighbour, 10))
        async with unharmed(siege):
            yield siege


@asynccontextmanager
async def unharmed(siege: Siege) -> AsyncIterator[None]:
    assert siege.serve.process
    pid = siege.serve.process.pid
    base_bytes, base_descriptors = resident_bytes(pid), descriptors(pid)
    forget_peak(pid)
    async with Neighbour(siege.victim) as neighbour, Watchman(siege.serve) as watchman:
        async with asyncio.timeout(LONGEST_ATTACK_S):
            yield
        await until(lambda: has_sent(neighbour, 3))
    assert neighbour.refusals == []
    assert max(neighbour.waits_s) < LONGEST_WAIT_S
    assert watchman.longest_s < LONGEST_STALL_S
    assert peak_bytes(pid) - base_bytes < siege.budget_bytes

    async def are_gone() -> bool:
        return descriptors(pid) <= base_descriptors + KEPT_DESCRIPTORS

    await until(are_gone)


async def prepare(serve: ServeProcess, upstream: FakeUpstream) -> Victim:
    """Make a tenant, an account that leads to the upstream, and a login."""
    await serve.post("/tenant", {"id": "acme"})
    account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": upstream.port}
    await serve.post("/account", {**account, "use_tls": False, "max_connections": 2})
    made = await serve.post("/credential", {"tenant_id": "acme", "username": "app"})
    return Victim(serve.smtp_port, "app", str(made["password"]))


async def has_sent(neighbour: Neighbour, count: int) -> bool:
    return len(neighbour.waits_s) >= count
