"""Results that must not be lost: an upstream has the mail, so the store has to hear of it.

A settlement that the store cannot take is kept and tried again until it can, or until this node has
lost its lease. While one is kept, or there would be no room for more, nothing new is begun: sending
what cannot be recorded makes duplicates.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from relay import maillog
from relay.errors import Fenced, StoreUnavailable
from relay.store.queue.settle import Notice, Release, Settlement
from relay.store.spool import Spool

AGAIN_S = 1.0


class Settler:
    def __init__(self, spool: Spool, has_room: Callable[[], bool]) -> None:
        """`has_room` tells whether a result of what is begun now can be written."""
        self._spool = spool
        self._has_room = has_room
        self._open = 0
        self._kept: list[Settlement | Release] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_clear(self) -> bool:
        """False while a result waits for the store to work again, or might have to."""
        return not self._kept and self._has_room()

    def settle(self, item: Settlement | Release) -> None:
        """Submit a result; it is in the next commit."""
        self._open += 1
        self._idle.clear()
        self._submit(item)

    async def drained(self) -> None:
        """Wait until every result is written, or has lost its say."""
        await self._idle.wait()

    def _submit(self, item: Settlement | Release) -> None:
        self._spool.settle(item).add_done_callback(partial(self._on_done, item))

    def _on_done(self, item: Settlement | Release, future: "asyncio.Future[Notice | None]") -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, StoreUnavailable):
            self._keep(item, error)
            return
        if error is not None and not isinstance(error, Fenced):
            maillog.unexpected("settle", error)
        self._open -= 1
        if not self._open:
            self._idle.set()

    def _keep(self, item: Settlement | Release, error: StoreUnavailable) -> None:
        if not self._kept:
            maillog.store_trouble(error)
            asyncio.get_running_loop().call_later(AGAIN_S, self._try_again)
        self._kept.append(item)

    def _try_again(self) -> None:
        kept, self._kept = self._kept, []
        for item in kept:
            self._submit(item)
