"""The log of an instance in the background: standard output and error, in a file that is rotated.

The process writes to its standard error as ever, so that what a library or the interpreter says in
distress is in the file too. When the file has grown, it is renamed and a new one takes its place
under the same descriptors. Several workers share the file: the first renames it, the others follow.
"""

import fcntl
import io
import os
import sys
from pathlib import Path

MOST_BYTES = 10_485_760
KEPT_FILES = 5
LOOK_EVERY_LINES = 50


class LogFile(io.TextIOBase):
    """The stream that the log is written to. Raises OSError where the file cannot be opened."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._lines_until_look = 0
        self._open()

    def write(self, text: str) -> int:
        if self._lines_until_look <= 0:
            self._lines_until_look = LOOK_EVERY_LINES
            self._look()
        self._lines_until_look -= 1
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def _look(self) -> None:
        """Rotate a file that has grown; follow where another process has rotated it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(self._path.with_name("log.lock"), flags, 0o600), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_ours() and self._path.stat().st_size > self._most_bytes:
                self._rotate()
            if not self._is_ours():
                self._open()

    def _is_ours(self) -> bool:
        try:
            there, here = self._path.stat(), os.fstat(sys.stderr.fileno())
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        os.close(file)


def end_of(path: Path, most_lines: int = 15, most_bytes: int = 16_384) -> list[str]:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most_bytes))
            return file.read().decode(errors="replace").splitlines()[-most_lines:]
    except OSError:
        return []
