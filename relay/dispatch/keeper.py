"""What time asks of a node, each in a loop of its own: waiting mail becomes due, dead nodes are
buried, old mail ends, what is over is forgotten.

Correctness depends on no wake-up: whatever nobody announced is found here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from relay import maillog
from relay.dispatch.loop import Dispatcher
from relay.dispatch.pool import Pool
from relay.dispatch.ways import Ways
from relay.errors import RelayError
from relay.store import limits
from relay.store.queue import due
from relay.store.spool import Spool

PROMOTED_AT_ONCE = 500
EXPIRED_AT_ONCE = 100
SCAN_EVERY_S = 5.0
POOL_EVERY_S = 5.0
EXPIRE_EVERY_S = 15.0
SLOW_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Times:
    """How often to look for due mail, how long a node's lease is, and how long a mail may wait in
    all.
    """

    poll_s: float
    lease_s: float
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Errand:
    """Something else that is to be done again and again."""

    wait_s: float
    work: Callable[[], Awaitable[None]]


class Keeper:
    def __init__(
        self,
        spool: Spool,
        dispatcher: Dispatcher,
        ways: Ways,
        pool: Pool,
        errands: Sequence[Errand],
        times: Times,
    ) -> None:
        self._spool = spool
        self._ways = ways
        self._dispatcher = dispatcher
        self._pool = pool
        self._errands = errands
        self._times = times
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what this node had when it last died, then keep time."""
        await self._bury()
        await self._scan()
        self._tasks = [
            asyncio.create_task(every(wait_s, work))
            for wait_s, work in (
                (self._times.poll_s, self._promote),
                (SCAN_EVERY_S, self._scan),
                (POOL_EVERY_S, self._pool.expire),
                (EXPIRE_EVERY_S, self._expire),
                (SLOW_EVERY_S, self._dispatcher.set_slow_aside),
                (self._times.lease_s / 4, self._bury),
                *((errand.wait_s, errand.work) for errand in self._errands),
            )
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _promote(self) -> None:
        """Make due what has waited long enough, in portions, so that other writes have a turn."""
        self._dispatcher.notice(await self._spool.end_doubts())
        while True:
            now = self._spool.now()
            first = await due.next_due(self._spool.database)
            if first is None or first > now:
                return
            lanes = await self._spool.database.write(partial(due.promote, now, PROMOTED_AT_ONCE))
            self._dispatcher.notice(set(lanes))
            if len(lanes) < PROMOTED_AT_ONCE:
                return

    async def _scan(self) -> None:
        self._ways.refresh()
        self._dispatcher.notice(await due.lanes_with_work(self._spool.database))

    async def _bury(self) -> None:
        estate = await self._spool.bury_dead()
        if estate.epochs and (estate.lanes or estate.in_doubt):
            maillog.recovered(len(estate.lanes) + sum(len(d.pending) for d in estate.in_doubt))
        await self._dispatcher.inherit(estate.in_doubt)
        self._dispatcher.notice(set(estate.lanes))

    async def _expire(self) -> None:
        spool, number = self._spool, self._spool.next_claim()
        now = spool.now()
        script = partial(due.claim_expired, now, spool.epoch, number, EXPIRED_AT_ONCE)
        await self._dispatcher.expire(await spool.database.write(script))
        # Mail of a lane that moves is seen when its turn comes; only what stands still is looked
        # for.
        for lane in self._dispatcher.lanes_due:
            await self._expire_in(lane, now - self._times.lifetime_s)
        await spool.database.write(lambda: limits.forget(now))

    async def _expire_in(self, lane: str, accepted_before: float) -> None:
        spool, number = self._spool, self._spool.next_claim()
        script = partial(due.claim_old, lane, accepted_before, spool.epoch, number, EXPIRED_AT_ONCE)
        await self._dispatcher.expire(await spool.database.write(script))


async def every(wait_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again, `wait_s` apart; trouble with the store is told once until it is
    over.
    """
    in_trouble = False
    while True:
        await asyncio.sleep(wait_s)
        try:
            await work()
            in_trouble = False
        except RelayError as error:
            if not in_trouble:
                maillog.store_trouble(error)
            in_trouble = True
        except Exception as error:  # noqa: BLE001 - the loop must live
            maillog.unexpected("keeper", error)
