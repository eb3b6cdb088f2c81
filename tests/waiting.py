"""Waiting for something to become true, with a deadline: what tests do instead of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 10, every_s: float = 0.01
) -> None:
    """Return once the condition holds; fail when it does not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"not so after {timeout_s} s") from None
