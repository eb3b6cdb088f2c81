"""Files in a local folder.

A file is there whole or not at all: it is written beside its place, synced, and moved. Only this
user may read it; others come by our links.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from relay.attachments.offload.place import Place
from relay.errors import StorageUnavailable
from relay.store.files import StoredFile


class LocalStorage:
    def __init__(self, place: Place) -> None:
        self._folder = Path(place.folder)

    async def put(self, file: StoredFile, pieces: Iterator[bytes]) -> None:
        """Store it. Raises StorageUnavailable."""
        try:
            await asyncio.to_thread(write_whole, self._folder / file.key, pieces)
        except OSError as error:
            raise StorageUnavailable(f"a large file cannot be stored: {error.strerror}") from error

    async def remove(self, file: StoredFile) -> None:
        """Remove it; one that is gone already is fine. Raises StorageUnavailable."""
        try:
            await asyncio.to_thread((self._folder / file.key).unlink, missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"a file cannot be removed: {error.strerror}") from error

    async def open(self, file: StoredFile) -> BinaryIO | None:
        """Open it for reading, None when it is gone. Raises StorageUnavailable."""
        try:
            return await asyncio.to_thread((self._folder / file.key).open, "rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable(f"a file cannot be read: {error.strerror}") from error


def write_whole(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            for piece in pieces:
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the name of what was moved there last, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
