"""Questions to the database that anybody may ask by HTTP: answered once for all who ask at the same
time.

Without that, an open route would let a stranger keep the database busy.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from relay.errors import RelayError, ShuttingDown, StoreFull
from relay.metrics import Metrics
from relay.model import State
from relay.store.database import Database, Query, Script
from relay.store.events import EventStore
from relay.store.queue import due

T = TypeVar("T")

PROBE_TIMEOUT_S = 5.0
READY_FOR_S = 1.0
DEPTH_FOR_S = 5.0

TOUCH = """
INSERT INTO instance (name, value) VALUES ('probed_at', $1)
ON CONFLICT (name) DO UPDATE SET value = $1
"""


class Recent(Generic[T]):
    """An answer that is kept for a while; those who ask meanwhile share one question."""

    def __init__(self, ask: Callable[[], Awaitable[T]], keep_s: float) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._asking: asyncio.Future[T] | None = None
        self._until = 0.0

    async def answer(self) -> T:
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._until = time.monotonic() + self._keep_s
            self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asking)


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
    """Brings what only the database knows into the metrics."""

    def __init__(self, database: Database, events: EventStore, metrics: Metrics) -> None:
        self._database = database
        self._events = events
        self._metrics = metrics
        self._refreshed = Recent(self._refresh, DEPTH_FOR_S)

    async def refresh(self) -> None:
        await self._refreshed.answer()

    async def _refresh(self) -> None:
        """Set the gauges; they stay as they are while the database does not answer."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                counts = await due.depth(self._database)
                oldest = await due.oldest_due(self._database)
                backlog = await self._events.backlog()
        except (TimeoutError, RelayError):
            return
        age_s = 0.0 if oldest is None else max(0.0, self._database.now() - oldest)
        depths = {(State(state), int(priority)): n for (state, priority), n in counts.items()}
        self._metrics.set_queue(depths, oldest_s=age_s)
        self._metrics.set_backlog(backlog)


async def depth_by_state(database: Database) -> Mapping[str, int]:
    totals: dict[str, int] = {}
    for (state, _), count in (await due.depth(database)).items():
        totals[state] = totals.get(state, 0) + count
    return totals


def touch(now: float) -> Script[None]:
    yield Query(TOUCH, (str(now),))
