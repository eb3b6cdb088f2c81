"""Results that must not be lost: an upstream has the mail, so the store has to hear of it.

A settlement that the store cannot take is kept and tried again until it can, or until this node has
lost its lease. While one is kept, or there would be no room for more, nothing new is begun: sending
what cannot be recorded makes duplicates. One that the store refuses for itself alone is written
with what must be known of it only; if not even that is taken, it is tried some times more, and then
its mail stays as begun until the node ends. Few such stop nobody.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from relay import maillog
from relay.errors import (
    DataRejected,
    Fenced,
    RelayError,
    ShuttingDown,
    StoreUnavailable,
    UnsafeStore,
    Unwritable,
)
from relay.store.queue.settle import Notice, Release, Settlement
from relay.store.spool import Spool
from relay.value import frozen

AGAIN_S = 1.0
MOST_TRIES = 6
# With more of them it is the store that does not work.
MOST_ODD = 10


@frozen
class _Result:
    """`tries` counts how often the store refused this one alone."""

    item: Settlement | Release
    tries: int = 0


class Settler:
    def __init__(self, spool: Spool, has_room: Callable[[], bool]) -> None:
        """`has_room` tells whether a result of what is begun now can be written."""
        self._spool = spool
        self._has_room = has_room
        self._open = 0
        self._odd = 0
        self._kept: list[_Result] = []
        self._idle = asyncio.Event()

    def is_clear(self) -> bool:
        """Say whether no result waits for the store to work again, nor might have to."""
        return not self._kept and self._odd < MOST_ODD and self._has_room()

    def settle(self, item: Settlement | Release) -> None:
        """Submit a result; it is in the next commit."""
        self._open += 1
        self._submit(_Result(item))

    async def drained(self) -> None:
        """Wait until every result is written, or has lost its say."""
        while self._open:
            self._idle.clear()
            await self._idle.wait()

    def _submit(self, result: _Result) -> None:
        self._spool.settle(result.item).add_done_callback(partial(self._on_done, result))

    def _on_done(self, result: _Result, future: "asyncio.Future[Notice | None]") -> None:
        error = None if future.cancelled() else future.exception()
        match error:
            case Unwritable() | DataRejected():
                self._write_less(result, error)
                return
            case StoreUnavailable() | UnsafeStore():
                self._keep(result, error)
                return
            case None | Fenced() | ShuttingDown():
                pass
            case _:
                maillog.unexpected("settle", error)
        self._end(result)

    def _end(self, result: _Result) -> None:
        self._odd -= result.tries > 0
        self._open -= 1
        if not self._open:
            self._idle.set()

    def _write_less(self, result: _Result, error: Exception) -> None:
        """Try again with less, at once, then later and later."""
        delivery = result.item.delivery
        maillog.fault(delivery.pk, tenant=delivery.tenant_id, where="settle", error=error)
        self._odd += not result.tries
        result = _Result(bare(result.item), result.tries + 1)
        if result.tries == 1:
            self._submit(result)
        elif result.tries < MOST_TRIES:
            wait_s = AGAIN_S * 2.0**result.tries
            asyncio.get_running_loop().call_later(wait_s, self._submit, result)
        else:
            self._end(result)

    def _keep(self, result: _Result, error: RelayError) -> None:
        if not self._kept:
            maillog.store_trouble(error)
            asyncio.get_running_loop().call_later(AGAIN_S, self._try_again)
        self._kept.append(result)

    def _try_again(self) -> None:
        kept, self._kept = self._kept, []
        for result in kept:
            self._submit(result)


def bare(item: Settlement | Release) -> Settlement | Release:
    return item.bare if isinstance(item, Settlement) else item
