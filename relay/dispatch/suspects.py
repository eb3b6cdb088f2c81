"""Mail that the relay may have died of: taken in hand one at a time, and charged before.

So a mail that ends the process is found out after a bounded number of deaths, and deaths of another
cause are laid to nobody else (see `store.queue.aside`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.model import Delivery
from relay.store.spool import Spool

# Most are innocent, and done with in less. One that takes long must not keep the couriers.
TURN_S = 0.1


class Suspects:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def in_hand(self, delivery: Delivery) -> AsyncIterator[None]:
        """Have this one in hand, and no other. Raises TimeoutError when another is for long, and
        StoreUnavailable: then it is not begun.
        """
        async with asyncio.timeout(TURN_S):
            await self._turn.acquire()
        try:
            await self._spool.charge(delivery)
            yield
        finally:
            self._turn.release()
