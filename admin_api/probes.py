"""Questions to the database that anybody may ask by HTTP: answered once for all who ask at the same
time.

Without that, an open route would let a stranger keep the database busy.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from relay.errors import RelayError, ShuttingDown, StoreFull
from relay.metrics import Metrics
from relay.model import State
from relay.store.database import Database, Query, Script
from relay.store.events import EventStore
from relay.store.queue.depth import Depth, depth

T = TypeVar("T")

PROBE_TIMEOUT_S = 5.0
READY_FOR_S = 1.0
GAUGES_FOR_S = 5.0
# Counting what waits takes this share of the time at most, however much that is.
COUNTING_SHARE = 0.05

TOUCH = """
INSERT INTO instance (name, value) VALUES ('probed_at', $1)
ON CONFLICT (name) DO UPDATE SET value = $1
"""


class Recent(Generic[T]):
    """An answer that is kept for a while; those who ask meanwhile share one question.

    With a `share`, an answer that took long is kept for longer: asking takes no more of the time.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], keep_s: float, share: float | None = None
    ) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._share = share
        self._asking: asyncio.Future[T] | None = None
        self._until = 0.0

    async def answer(self) -> T:
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._until = time.monotonic() + self._keep_s
            self._asking = asyncio.ensure_future(self._timed())
        return await asyncio.shield(self._asking)

    async def _timed(self) -> T:
        began_at = time.monotonic()
        try:
            return await self._ask()
        finally:
            if self._share is not None:
                now = time.monotonic()
                self._until = max(self._until, now + (now - began_at) / self._share)


class Readiness:
    """Whether this node can write to its database."""

    def __init__(self, database: Database, check_open: Callable[[], None]) -> None:
        """`check_open` raises ShuttingDown or StoreFull while no mail can be taken."""
        self._database = database
        self._check_open = check_open
        self._trouble = Recent(self._probe, READY_FOR_S)

    async def trouble(self) -> str | None:
        """Return what is wrong, in words that are fit for everybody, or None."""
        return await self._trouble.answer()

    async def _probe(self) -> str | None:
        try:
            self._check_open()
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._database.write(lambda: touch(self._database.now()))
        except TimeoutError:
            return "the database does not answer in time"
        except StoreFull:
            return "no space left for mail"
        except ShuttingDown:
            return "being drained: no mail is taken"
        except RelayError:
            return "the database cannot be written"
        return None


class QueueGauges:
    """Brings what only the database knows into the metrics and the status."""

    def __init__(self, database: Database, events: EventStore, metrics: Metrics) -> None:
        self._database = database
        self._events = events
        self._metrics = metrics
        self._depth = Recent(self._count, 0.0, COUNTING_SHARE)
        self._refreshed = Recent(self._refresh, GAUGES_FOR_S, COUNTING_SHARE)
        self._last: Depth | None = None

    async def refresh(self) -> None:
        """Set the gauges; those of the database stay as they are while it does not answer in
        time.
        """
        self._metrics.set_tasks(len(asyncio.all_tasks()))
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._refreshed.answer()

    async def depth(self) -> Depth | None:
        """Return how much waits, as it was counted last where that takes long. Raises
        StoreUnavailable.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._depth.answer()
        return self._last

    async def _count(self) -> Depth:
        self._last = await depth(self._database)
        return self._last

    async def _refresh(self) -> None:
        try:
            waiting = await self._depth.answer()
            backlog = await self._events.backlog()
        except RelayError:
            return
        now, oldest_at = self._database.now(), waiting.oldest_at
        age_s = 0.0 if oldest_at is None else max(0.0, now - oldest_at)
        depths = {(State(s), int(priority)): n for (s, priority), n in waiting.recipients.items()}
        self._metrics.set_queue(depths, oldest_s=age_s)
        self._metrics.set_backlog(backlog)


def touch(now: float) -> Script[None]:
    yield Query(TOUCH, (str(now),))
