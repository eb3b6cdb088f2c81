"""Which processes serve an instance on this machine, and that two do not start it at once.

A process that serves holds a lock on a file with its id for as long as it lives. The system lets go
of the lock of one that was killed, so a file that is left behind deceives nobody.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.failure import Failure

MOST_PROCESSES = 64


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Be one of the processes that serve this instance."""
    lock = first_free(folder)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    try:
        yield
    finally:
        os.truncate(lock, 0)
        os.close(lock)


def first_free(folder: Path) -> int:
    for number in range(MOST_PROCESSES):
        lock = os.open(folder / f"serve.{number}.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if took(lock, fcntl.LOCK_EX):
            return lock
        os.close(lock)
    raise Failure(f"{folder}: {MOST_PROCESSES} processes serve this instance", os.EX_TEMPFAIL)


def took(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def pids(folder: Path) -> list[int]:
    """Return the processes that serve this instance, the first to start first."""
    return [pid for path in sorted(folder.glob("serve.*.pid")) if (pid := holder(path))]


def holder(path: Path) -> int | None:
    """Return who holds a lock; what a process wrote that is gone counts for nothing."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if took(lock, fcntl.LOCK_SH):
            return None
        text = os.pread(lock, 32, 0).strip()
    finally:
        os.close(lock)
    return int(text) if text.isdigit() else None


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Be the only one that starts this instance. Raises Failure where another does."""
    lock = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not took(lock, fcntl.LOCK_EX):
            raise Failure(f"{folder.name} is being started already", os.EX_TEMPFAIL)
        yield
    finally:
        os.close(lock)
