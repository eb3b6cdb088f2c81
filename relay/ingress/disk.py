"""Room for the database on its disk: below a watermark no new mail is taken, so that what is under
way can still be recorded.

The watermark holds against our own mail. Against others who fill the disk there is the reserve
(`relay.store.reserve`): the first write that finds no room gives it up. Until it is whole again no
mail is taken, and none is sent where what is left of it may not do for the results.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from relay.errors import StoreFull
from relay.store.reserve import Reserve

LOOK_EVERY_S = 1.0
# So long no mail is taken after a write found no room, where there is no reserve to tell of room.
CLOSED_S = 2.0
# What is committed is written to the journal, and from there to the file.
COPIES = 2


@dataclass(frozen=True, slots=True)
class Spare:
    """What the database has on the disk and does not use: for its journal, and in its file."""

    journal_bytes: int = 0
    file_bytes: int = 0


async def nothing_spare() -> Spare:
    return Spare()


class Disk:
    def __init__(
        self,
        folder: Path | None,
        min_free_bytes: int,
        clock: Callable[[], float],
        reserve: Reserve | None = None,
        ask_spare: Callable[[], Awaitable[Spare]] = nothing_spare,
    ) -> None:
        """`folder` is None where the database is another machine's."""
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._reserve = reserve
        self._ask_spare = ask_spare
        self._look_at = float("inf") if folder is None else float("-inf")
        self._free_bytes = 0
        self._least_bytes = 0 if folder is None else min_free_bytes
        self._times_full = 0
        self._closed_until = float("-inf")

    def has_room_for_results(self) -> bool:
        """Say whether what is begun now can be recorded, even if the disk fills meanwhile."""
        if self._folder is None or self._reserve is None or self._reserve.is_whole:
            return True
        self._look_again()
        return self._free_bytes >= self._reserve.size_bytes // 2

    def check(self) -> None:
        """Raise StoreFull when there is too little room; looks once a second at most."""
        now = self._clock()
        if now < self._closed_until:
            raise StoreFull("the disk is full")
        if now >= self._look_at:
            self._look(now)
        if self._free_bytes < self._least_bytes:
            raise StoreFull("the disk is nearly full")

    def spend(self, size_bytes: int) -> None:
        """Count what is about to be stored: much can come between two looks."""
        if self._folder is not None:
            self._free_bytes -= size_bytes * COPIES

    def filled(self) -> None:
        """Give up the reserve: a write found no room."""
        self._times_full += 1
        if self._folder is not None:
            self._look_at = float("-inf")
        self._closed_until = self._clock() + CLOSED_S
        if self._reserve is not None:
            self._reserve.give_up()
            self._closed_until = float("inf")

    async def tend(self) -> None:
        """Make the reserve when there is room for it; to be done every `LOOK_EVERY_S`."""
        if self._folder is None or self._reserve is None:
            return
        self._look_again()
        is_short = self._free_bytes < self._min_free_bytes
        self._least_bytes = self._least_beside(await self._ask_spare() if is_short else Spare())
        left_bytes = self._free_bytes - self._reserve.size_bytes
        if not self._reserve.is_whole and left_bytes >= self._least_bytes:
            await self._make(self._reserve)

    async def _make(self, reserve: Reserve) -> None:
        times_full = self._times_full
        await asyncio.to_thread(reserve.make)
        if self._times_full != times_full:
            reserve.give_up()
        elif reserve.is_whole:
            self._closed_until = float("-inf")

    def _least_beside(self, spare: Spare) -> int:
        """Return how much has to be free beside what the database itself has to spare; half must do
        for its journal, which grows before the file is written.
        """
        wanted = self._min_free_bytes
        return max(wanted // 2, wanted - spare.file_bytes) - spare.journal_bytes

    def _look_again(self) -> None:
        now = self._clock()
        if now >= self._look_at:
            self._look(now)

    def _look(self, now: float) -> None:
        if self._folder is not None:
            self._look_at = now + LOOK_EVERY_S
            self._free_bytes = shutil.disk_usage(self._folder).free
