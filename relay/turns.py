"""Long work in short steps: between them everything else in the process has its turn.

A thread would be no help: the searches of `relay.formats.headers` hold the interpreter's lock, and
what waits for it waits longer than for a step.
"""

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Take the steps and return what they come to. Work without a step is done at once."""
    try:
        while True:
            next(steps)
            await asyncio.sleep(0)
    except StopIteration as stop:
        value: T = stop.value
        return value
