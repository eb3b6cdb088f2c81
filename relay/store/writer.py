"""Group commit: whatever has gathered while the last commit was syncing goes into the next one.

Promises: an item is answered only when the commit that holds it is done; no timer, so nothing waits
when the load is low; an item that the database refuses fails alone, the others of its batch are
committed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from relay import maillog
from relay.errors import DataRejected, Fenced, RelayError, ShuttingDown, StoreUnavailable
from relay.store.database import Database, Script

Item = TypeVar("Item")
Result = TypeVar("Result")

Merge = Callable[[Sequence[Item]], Script[Sequence[Result | RelayError]]]
OnCommit = Callable[[float, int], None]


class Channel(Generic[Item, Result]):
    """A queue of items of one kind, with the script that writes many of them at once."""

    def __init__(
        self, writer: "Writer", merge: "Merge[Item, Result]", most: int, most_bytes: int
    ) -> None:
        self._writer = writer
        self.merge = merge
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[Item, int, asyncio.Future[Result]]] = deque()

    def submit(self, item: Item, size_bytes: int = 0) -> "asyncio.Future[Result]":
        """Queue one item; the future is done when it is committed, or has failed."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._writer.is_closed:
            future.set_exception(ShuttingDown("this node is stopping"))
            return future
        self._waiting.append((item, size_bytes, future))
        self._writer.wake()
        return future

    def take(self) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        total = 0
        while self._waiting and len(taken) < self._most and total <= self._most_bytes:
            item, size_bytes, future = self._waiting.popleft()
            taken.append((item, future))
            total += size_bytes
        return taken

    @property
    def is_empty(self) -> bool:
        return not self._waiting


class Writer:
    """One task that commits what its channels hold, again and again."""

    def __init__(self, database: Database, on_commit: OnCommit) -> None:
        self._database = database
        self._on_commit = on_commit
        self._channels: list[Channel[Any, Any]] = []
        self._wakened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    def channel(
        self, merge: Merge[Item, Result], *, most: int = 500, most_bytes: int = 32 << 20
    ) -> Channel[Item, Result]:
        channel = Channel(self, merge, most, most_bytes)
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

    async def _commit(self, batch: list[tuple[Channel[Any, Any], list[Any]]]) -> None:
        started = time.perf_counter()
        scripts = [
            lambda c=c, taken=taken: c.merge([item for item, _ in taken]) for c, taken in batch
        ]
        try:
            results = await self._database.write_all(scripts)
        except (DataRejected, Fenced):
            await self._commit_singly(batch)
            return
        except RelayError as error:
            fail([future for _, taken in batch for _, future in taken], error)
            return
        except Exception as error:  # noqa: BLE001 - a script with a fault must not stop all the others for ever
            maillog.unexpected("commit", error)
            await self._commit_singly(batch)
            return
        for (_, taken), answers in zip(batch, results, strict=True):
            for (_, future), answer in zip(taken, answers, strict=True):
                answer_one(future, answer)
        self._on_commit(time.perf_counter() - started, sum(len(taken) for _, taken in batch))

    async def _commit_singly(self, batch: list[tuple[Channel[Any, Any], list[Any]]]) -> None:
        for channel, taken in batch:
            for item, future in taken:
                try:
                    answers = await self._database.write(lambda c=channel, i=item: c.merge([i]))  # type: ignore[misc]
                except RelayError as error:
                    fail([future], error)
                except Exception as error:  # noqa: BLE001 - as above
                    maillog.unexpected("commit", error)
                    fail([future], StoreUnavailable("the store could not write this"))
                else:
                    answer_one(future, answers[0])


def answer_one(future: "asyncio.Future[Any]", answer: Any) -> None:
    """Answer a waiter; one that was cancelled has left, and its item is committed all the same."""
    if future.done():
        return
    if isinstance(answer, RelayError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def fail(futures: "Sequence[asyncio.Future[Any]]", error: RelayError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
