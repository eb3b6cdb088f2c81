"""Room for the database: below a watermark no new mail is taken, so that what is under way can
still be recorded.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from relay.errors import StoreFull

LOOK_EVERY_S = 1.0


class Disk:
    def __init__(
        self, folder: Path | None, min_free_bytes: int, clock: Callable[[], float]
    ) -> None:
        """`folder` is None where the database is another machine's."""
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._looked_at = float("-inf")
        self._free_bytes = 0

    def check(self) -> None:
        """Raise StoreFull when there is too little room; looks once a second at most."""
        if self._folder is None:
            return
        if self._clock() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = self._clock()
            self._free_bytes = shutil.disk_usage(self._folder).free
        if self._free_bytes < self._min_free_bytes:
            raise StoreFull("the disk is nearly full")
