"""A file that is coming in: written to disk as it comes, counted, hashed, capped.

The temporary file has no name, so a node that dies leaves nothing behind.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from relay.errors import AttachmentGone, AttachmentUnavailable

# So much is gathered before a thread writes it.
GATHER_BYTES = 256 * 1024
NO_ROOM = "cannot be kept for now"


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is wholly there. Whoever has it closes it."""

    size_bytes: int
    sha256: str
    md5: str
    file: BinaryIO = field(repr=False)

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        """Read it from its start; blocks the thread."""
        self.file.seek(0)
        while block := self.file.read(size_bytes):
            yield block


class Intake:
    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        try:
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see `discard`
        except OSError as error:
            raise AttachmentUnavailable(NO_ROOM) from error
        self._sha256 = hashlib.sha256()
        # The client's name for a file, not a proof of anything.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._gathered = bytearray()

    async def take(self, chunk: bytes) -> None:
        """Add what came. Raises AttachmentGone when it is too much."""
        self.check_size(self.size_bytes + len(chunk))
        self.size_bytes += len(chunk)
        self._gathered += chunk
        if len(self._gathered) >= GATHER_BYTES:
            await self._flush()

    def take_all(self, file: BinaryIO) -> None:
        """Add all of a file; blocks the thread. Raises AttachmentGone when it is too much."""
        while block := file.read(GATHER_BYTES):
            self.check_size(self.size_bytes + len(block))
            self.size_bytes += len(block)
            self._write(block)

    def check_size(self, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise AttachmentGone(f"is larger than {self.max_bytes} bytes")

    async def finish(self) -> Received:
        await self._flush()
        md5, sha256 = self._md5.hexdigest(), self._sha256.hexdigest()
        return Received(self.size_bytes, sha256, md5, self._file)

    def discard(self) -> None:
        with suppress(OSError):  # What could not be written is not missed.
            self._file.close()

    async def _flush(self) -> None:
        gathered, self._gathered = bytes(self._gathered), bytearray()
        await asyncio.to_thread(self._write, gathered)

    def _write(self, block: bytes) -> None:
        try:
            self._file.write(block)
            # A full disk is met here, and not by whoever reads it.
            self._file.flush()
        except OSError as error:
            raise AttachmentUnavailable(NO_ROOM) from error
        self._sha256.update(block)
        self._md5.update(block)
