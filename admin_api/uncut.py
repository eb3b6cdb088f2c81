"""Work that its caller must not cut short.

Sanic cancels a handler when its client hangs up. A mail that is being accepted is stored all the
same, so it must also be counted and logged: it runs in a task of its own, which is waited for when
the server stops.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Uncut:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end, whatever becomes of the caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def drain(self, budget_s: float) -> None:
        """Wait for what still runs, at most `budget_s`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=budget_s)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Looked at, so that asyncio does not warn of an error whose caller has gone.
            task.exception()
