"""Group commit: whatever has gathered while the last commit was syncing goes into the next one.

Promises: an item is answered only when the commit that holds it is done; no timer, so nothing waits
when the load is low; an item that the database refuses, or that our own code cannot write, fails
alone: a batch that fails for such a reason is halved until the others of it are committed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Generic, TypeVar

from relay import maillog
from relay.errors import DataRejected, Fenced, RelayError, ShuttingDown, StoreFull, Unwritable
from relay.store.database import Database, Script

Item = TypeVar("Item")
Result = TypeVar("Result")

Merge = Callable[[Sequence[Item]], Script[Sequence[Result | RelayError]]]
OnCommit = Callable[[float, int], None]


Told = Callable[[Item, Result | RelayError], None]


@dataclass(slots=True)
class Waiting(Generic[Item, Result]):
    item: Item
    size_bytes: int
    future: "asyncio.Future[Result]"


class Channel(Generic[Item, Result]):
    """A queue of items of one kind, with the script that writes many of them at once.

    `told` is called with each item and its answer, whether or not somebody still waits for it.
    What is vital may use the last room of a disk.
    """

    def __init__(
        self,
        writer: "Writer",
        merge: "Merge[Item, Result]",
        told: "Told[Item, Result] | None",
        most: int,
        most_bytes: int,
        is_vital: bool,
    ) -> None:
        self.is_vital = is_vital
        self._writer = writer
        self.merge = merge
        self._told = told
        self._most = most
        self._most_bytes = most_bytes
        self._queue: deque[Waiting[Item, Result]] = deque()

    def submit(self, item: Item, size_bytes: int = 0) -> "asyncio.Future[Result]":
        """Queue one item; the future is done when it is committed, or has failed. To cancel it
        changes nothing.
        """
        future: asyncio.Future[Result] = self._writer.loop.create_future()
        waiting = Waiting(item, size_bytes, future)
        if self._writer.is_closed:
            self.answer(waiting, ShuttingDown("this node is stopping"))
            return future
        if not self._queue:
            self._writer.wake()
        self._queue.append(waiting)
        return future

    def take(self) -> list[Waiting[Item, Result]]:
        taken: list[Waiting[Item, Result]] = []
        total = 0
        while self._queue and len(taken) < self._most and total <= self._most_bytes:
            waiting = self._queue.popleft()
            taken.append(waiting)
            total += waiting.size_bytes
        return taken

    def answer(self, waiting: Waiting[Item, Result], answer: Result | RelayError) -> None:
        """Say what became of an item; a waiter that was cancelled has left, the item has not."""
        if self._told is not None:
            try:
                self._told(waiting.item, answer)
            except Exception as error:  # noqa: BLE001 - what is committed is committed, and the writer goes on
                maillog.unexpected("committed", error)
        if waiting.future.done():
            return
        if isinstance(answer, RelayError):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(answer)

    @property
    def is_empty(self) -> bool:
        return not self._queue


Batch = list[tuple[Channel[Any, Any], list[Waiting[Any, Any]]]]


def answer_all(batch: Batch, error: RelayError) -> None:
    for channel, taken in batch:
        for waiting in taken:
            channel.answer(waiting, error)


class Writer:
    """One task that commits what its channels hold, again and again."""

    def __init__(
        self, database: Database, on_commit: OnCommit, on_full: Callable[[], None]
    ) -> None:
        """`on_full` is called when a write finds no room, and may make some."""
        self._database = database
        self._on_full = on_full
        self._on_commit = on_commit
        # Kept, for to ask for it costs a system call.
        self.loop = asyncio.get_running_loop()
        self._channels: list[Channel[Any, Any]] = []
        self._wakened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    def channel(
        self,
        merge: Merge[Item, Result],
        *,
        told: Told[Item, Result] | None = None,
        most: int = 500,
        most_bytes: int = 32 << 20,
        is_vital: bool = False,
    ) -> Channel[Item, Result]:
        channel = Channel(self, merge, told, most, most_bytes, is_vital)
        self._channels.append(channel)
        return channel

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._wakened.set()

    async def close(self) -> None:
        """Commit what waits, then stop; what is submitted from now on fails with ShuttingDown."""
        self.is_closed = True
        self.wake()
        if self._task:
            await self._task

    async def _run(self) -> None:
        while True:
            await self._wakened.wait()
            self._wakened.clear()
            while not all(channel.is_empty for channel in self._channels):
                await self._commit([(c, taken) for c in self._channels if (taken := c.take())])
            if self.is_closed:
                return

    async def _commit(self, batch: Batch) -> None:
        started = time.perf_counter()
        scripts = [lambda c=c, taken=taken: c.merge([w.item for w in taken]) for c, taken in batch]
        try:
            results = await self._database.write_all(scripts)
        except StoreFull as error:
            self._on_full()
            await self._commit_vital(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - a script with a fault must not stop all the others for ever
            await self._part(batch, error)
            return
        for (channel, taken), answers in zip(batch, results, strict=True):
            for waiting, answer in zip(taken, answers, strict=True):
                channel.answer(waiting, answer)
        self._on_commit(time.perf_counter() - started, sum(len(taken) for _, taken in batch))

    async def _commit_vital(self, batch: Batch, error: StoreFull) -> None:
        """Write what must not wait; it may fit where all together did not."""
        answer_all([(c, taken) for c, taken in batch if not c.is_vital], error)
        for channel, taken in [(c, taken) for c, taken in batch if c.is_vital]:
            items = [waiting.item for waiting in taken]
            try:
                answers = await self._database.write(partial(channel.merge, items))
            except Exception as still:  # noqa: BLE001 - as above
                await self._part([(channel, taken)], still)
            else:
                for waiting, answer in zip(taken, answers, strict=True):
                    channel.answer(waiting, answer)

    async def _part(self, batch: Batch, error: Exception) -> None:
        """Find the item for which a batch failed; the trouble of the database is everybody's."""
        parts = halves(batch)
        if len(parts) > 1 and is_of_one(error):
            for part in parts:
                await self._commit(part)
            return
        answer_all(batch, error if isinstance(error, RelayError) else unwritable(error))


def is_of_one(error: Exception) -> bool:
    """Say whether a batch may have failed for one of its items only."""
    if isinstance(error, RelayError):
        return isinstance(error, DataRejected | Fenced | Unwritable)
    return True


def unwritable(error: Exception) -> Unwritable:
    maillog.unexpected("commit", error)
    return Unwritable(f"this could not be written: {type(error).__name__}")


def halves(batch: Batch) -> list[Batch]:
    """Cut a batch in two, its items in their order; one item is not cut."""
    items = [(channel, waiting) for channel, taken in batch for waiting in taken]
    if len(items) == 1:
        return [batch]
    middle = len(items) // 2
    return [gathered(items[:middle]), gathered(items[middle:])]


def gathered(items: Sequence[tuple[Channel[Any, Any], Waiting[Any, Any]]]) -> Batch:
    groups = groupby(items, key=itemgetter(0))
    return [(channel, [waiting for _, waiting in group]) for channel, group in groups]
