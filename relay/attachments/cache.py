"""Files that were fetched, kept a while: small ones in memory, others on disk.

The home of cachetools, which keeps ages, sizes and the order of use of both tiers. A file is kept
under its tenant and SHA-256, and found by the MD5 that the client declares, in its own tenant only;
what does not have that MD5 is never kept under it. The disk tier is this process's own and starts
empty. Only the loop touches the tiers; files are read and written in threads.
"""

import asyncio
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from cachetools import TTLCache

from relay import maillog
from relay.attachments.intake import Received

MEMORY = "memory"
DISK = "disk"
MOST_NAMES = 100_000
COPY_BYTES = 256 * 1024

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Files up to `memory_file_bytes` go to memory; a size of 0 switches its tier off."""

    memory_bytes: int
    memory_age_s: float
    memory_file_bytes: int
    disk_bytes: int
    disk_age_s: float


@dataclass(frozen=True, slots=True)
class Hit:
    tier: str
    received: Received


@dataclass(frozen=True, slots=True)
class _Stored:
    path: Path
    size_bytes: int


class _Files(TTLCache[Key, _Stored]):
    """The index of the disk tier; `gone` are the files that it let go."""

    def __init__(self, max_bytes: float, age_s: float, clock: Callable[[], float]) -> None:
        super().__init__(max_bytes, age_s, timer=clock, getsizeof=lambda stored: stored.size_bytes)
        self.gone: list[Path] = []

    def expire(self, time: float | None = None) -> list[tuple[Key, _Stored]]:
        expired = list(super().expire(time))
        self.gone += [stored.path for _, stored in expired]
        return expired

    def popitem(self) -> tuple[Key, _Stored]:
        key, stored = super().popitem()
        self.gone.append(stored.path)
        return key, stored


class Cache:
    def __init__(
        self,
        settings: CacheSettings,
        folder: Path,
        clock: Callable[[], float],
        tell: Callable[[str, bool], None],
    ) -> None:
        """`folder` is emptied; `tell` is told the tier of each look-up and whether it was a hit."""
        self._settings = settings
        self._folder = folder
        self._tell = tell
        oldest_s = max(settings.memory_age_s, settings.disk_age_s)
        self._names: TTLCache[Key, str] = TTLCache(MOST_NAMES, oldest_s, timer=clock)
        self._memory: TTLCache[Key, bytes] = TTLCache(
            settings.memory_bytes, settings.memory_age_s, timer=clock, getsizeof=len
        )
        self._files = _Files(settings.disk_bytes, settings.disk_age_s, clock)
        self._numbers = count()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    async def find(self, tenant_id: str, md5: str) -> Hit | None:
        """Look for a file by what the client says its MD5 is."""
        sha256 = self._names.get((tenant_id, md5), "")
        key = tenant_id, sha256
        kept = self._memory.get(key)
        self._tell(MEMORY, kept is not None)
        if kept is not None:
            return Hit(MEMORY, Received(len(kept), sha256, md5, io.BytesIO(kept)))
        stored = self._files.get(key)
        file = await asyncio.to_thread(_opened, stored.path) if stored else None
        self._tell(DISK, file is not None)
        if stored is None or file is None:
            return None
        return Hit(DISK, Received(stored.size_bytes, sha256, md5, file))

    async def keep(self, tenant_id: str, md5: str, received: Received) -> bool:
        """Keep a file under the MD5 that it was declared to have. False where it has another."""
        if received.md5 != md5:
            return False
        key, size_bytes = (tenant_id, received.sha256), received.size_bytes
        if size_bytes > self._settings.memory_file_bytes:
            await self._keep_on_disk(key, received)
        elif size_bytes <= self._settings.memory_bytes:
            self._memory[key] = await asyncio.to_thread(_read, received)
        self._names[tenant_id, md5] = received.sha256
        return True

    async def _keep_on_disk(self, key: Key, received: Received) -> None:
        if key in self._files or received.size_bytes > self._settings.disk_bytes:
            return
        path = self._folder / str(next(self._numbers))
        try:
            await asyncio.to_thread(_copy, received, path)
        except OSError as error:
            # The mail has its file; only the next one has to fetch it again.
            maillog.unexpected("cache", error)
            self._files.gone.append(path)
            return
        if key in self._files:  # another mail was faster
            self._files.gone.append(path)
        else:
            self._files[key] = _Stored(path, received.size_bytes)
        gone, self._files.gone = self._files.gone, []
        await asyncio.to_thread(_remove, gone)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _read(received: Received) -> bytes:
    received.file.seek(0)
    return received.file.read()


def _copy(received: Received, path: Path) -> None:
    received.file.seek(0)
    with path.open("wb") as copy:
        shutil.copyfileobj(received.file, copy, COPY_BYTES)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
