"""Room that is kept beside SQLite's file, to be given up when the disk is full.

A mail that an upstream has taken must be recorded, or it is sent again. So that this can be done on
a disk that somebody else has filled, a file is kept there for nothing but its blocks: it is deleted
when a write finds no room, and made again once there is room for it and more.
"""

import os
from pathlib import Path


class Reserve:
    def __init__(self, path: Path, size_bytes: int) -> None:
        """Describe it; a size of 0 is of one that is not wanted."""
        self._path = path
        self.size_bytes = size_bytes
        self.is_whole = False

    def make(self) -> None:
        """Take the room; `is_whole` says whether there was enough."""
        try:
            if self.size_bytes:
                self._allocate()
            self.is_whole = True
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Let the room go."""
        self.is_whole = False
        self._path.unlink(missing_ok=True)

    def _allocate(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size_bytes)
        finally:
            os.close(descriptor)
