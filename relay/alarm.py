"""One timer for the many waits of a connection.

Each wait has a deadline of its own, and nearly none is reached. Making and cancelling a timer for
each costs more than the wait; setting a clock that rings already costs nothing.
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` when the time it was last set to is reached, unless it was turned off."""

    __slots__ = ("_at", "_loop", "_ring", "_timer", "_timer_at")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, at: float) -> None:
        """Ring at this time of the loop's clock, and at no other."""
        self._at = at
        if self._timer is None or at < self._timer_at:
            self._arm(at)

    def off(self) -> None:
        self._at = None

    def close(self) -> None:
        """Never ring again, and hold on to nobody: rings of references stay until they are
        collected, and with them the buffers of a connection.
        """
        self._at = None
        self._ring = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm(self._at)
            return
        self._at = None
        self._ring()


def _nothing() -> None:
    pass
