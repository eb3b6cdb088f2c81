"""Long work in short steps: between them everything else in the process has its turn.

A thread would be no help: the searches of `relay.formats.headers` hold the interpreter's lock, and
what waits for it waits longer than for a step.
"""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

LONGEST_S = 0.003


class Turn:
    """How long somebody works without a pause, who does many small things one after the other."""

    __slots__ = ("_began_at",)

    def __init__(self) -> None:
        self._began_at = time.monotonic()

    @property
    def is_long(self) -> bool:
        return time.monotonic() - self._began_at > LONGEST_S

    async def end(self) -> None:
        """Let all others have their turn, and begin another."""
        await asyncio.sleep(0)
        self._began_at = time.monotonic()


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Take the steps and return what they come to. Work without a step is done at once."""
    try:
        while True:
            next(steps)
            await asyncio.sleep(0)
    except StopIteration as stop:
        value: T = stop.value
        return value
