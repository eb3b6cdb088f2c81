"""Mail that is made complete before it stands in line, beside the couriers: a slow source of a file
holds up no other mail of its account.

Nothing is fetched while the account is at its rate limit. An outlet that has too many of them gets
no more mail.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from relay.attachments.prepare import Preparer
from relay.dispatch.deliver import LimitReached
from relay.dispatch.outlet import Outlet
from relay.model import Account, Delivery
from relay.store import limits
from relay.store.spool import Spool

Ready = Callable[[Outlet, Delivery], None]
Troubled = Callable[[Outlet, Delivery, Exception, float], Awaitable[None]]


class Preparing:
    def __init__(self, spool: Spool, preparer: Preparer, ready: Ready, troubled: Troubled) -> None:
        """`ready` takes a mail that is complete, `troubled` settles one that could not be made so
        (with when that was begun).
        """
        self._spool = spool
        self._preparer = preparer
        self._ready = ready
        self._troubled = troubled
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, outlet: Outlet, delivery: Delivery) -> None:
        # It waits outside of memory: the store has it.
        task = asyncio.create_task(self.run(outlet, replace(delivery, content=None)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cut off what is under way: nothing of it was offered to anybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(self, outlet: Outlet, delivery: Delivery) -> None:
        """Make one complete here and now."""
        outlet.preparing += 1
        started_at = self._spool.now()
        try:
            await self._check_limit(outlet.account)
            prepared = await self._preparer.prepare(delivery)
        except Exception as error:  # noqa: BLE001 - one mail's fault must not stop the others
            await self._troubled(outlet, delivery, error, started_at)
        else:
            self._ready(outlet, prepared)
        finally:
            outlet.preparing -= 1

    async def _check_limit(self, account: Account) -> None:
        """Raise LimitReached where the account has no room."""
        if account.is_limited:
            now = self._spool.now()
            _, free_at = await self._spool.database.write(lambda: limits.standing(account, now))
            if free_at is not None:
                raise LimitReached(free_at)
