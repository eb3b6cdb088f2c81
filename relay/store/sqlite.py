"""The embedded engine: SQLite in WAL mode through aiosqlite, one connection, one writer.

Promises: a write that returned is on the disk (`synchronous=FULL`); one process at a time owns the
file (flock); a whole transaction runs as one function in the connection's thread, so nothing comes
between its statements and its cost is one thread hop. One connection also keeps us clear of
SQLite's WAL-reset bug (before 3.51.3), which needs two. A wall clock that is set is followed within
seconds, and what waits keeps its wait (`relay.store.clock`).
"""

import asyncio
import fcntl
import json
import math
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from relay import maillog
from relay.errors import (
    CommitInDoubt,
    DataRejected,
    RelayError,
    StoreFull,
    StoreLocked,
    StoreUnavailable,
    UnsafeStore,
    Unwritable,
)
from relay.store.clock import Clock, move, was_set
from relay.store.database import (
    OnSignal,
    Query,
    Row,
    Step,
    Together,
    Value,
    Write,
    plain,
    render,
)
from relay.store.file_system import network_kind

T = TypeVar("T")

Reorder = Callable[[tuple[Any, ...]], tuple[Any, ...]]

MARKS = {
    "among": "IN (SELECT value FROM json_each($n))",
    "skip_locked": "",
    "for_update": "",
    "for_share": "",
    "key_share": "",
}

# page_size is fixed by the first table; 16 KB halves the cost of a 100 KB mail and costs nothing at
# 4 KB.
PRAGMAS = (
    "PRAGMA page_size=16384",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    # Every write and read behind it waits as long for somebody else's lock.
    "PRAGMA busy_timeout=250",
    "PRAGMA wal_autocheckpoint=2000",
    # The pages of a big mail pass through and stay: with more than this as one more copy of it.
    "PRAGMA cache_size=-16000",
    "PRAGMA temp_store=MEMORY",
)

# What can be read through in a part of a second.
CHECKED_BYTES = 256 * 1024 * 1024
# In the lock file, once there was something in the database.
SEEN = b"seen\n"

CLOCK_EVERY_S = 1.0

FULL_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=512)
def compiled(sql: str) -> tuple[str, Reorder | None]:
    """Return SQLite's text and what puts its values into their order, None where they stand in it
    already.

    Plain `?` takes tuples, which cost less to bind than the dicts that `$1` would need.
    """
    text = render(plain(sql), MARKS)
    order = tuple(int(n) - 1 for n in PARAMETER.findall(text))
    return PARAMETER.sub("?", text), reordering(order)


def reordering(order: tuple[int, ...]) -> Reorder | None:
    if order == tuple(range(len(order))):
        return None
    if len(order) == 1:
        return itemgetter(slice(order[0], order[0] + 1))
    return itemgetter(*order)


def bound(values: tuple[Value, ...], reorder: Reorder | None) -> tuple[Any, ...]:
    plain = tuple([json.dumps(v) if isinstance(v, list | tuple) else v for v in values])
    return plain if reorder is None else reorder(plain)


def execute(connection: sqlite3.Connection, step: Step) -> Sequence[Row]:
    if isinstance(step, Query):
        sql, reorder = compiled(step.sql)
        return connection.execute(sql, bound(step.values, reorder)).fetchall()
    for each in step.parts if isinstance(step, Together) else (step,):
        sql, reorder = compiled(each.sql)
        connection.executemany(sql, each.rows if reorder is None else map(reorder, each.rows))
    return ()


# One damaged text must not hide the rows beside it: what is no UTF-8 is read as U+FFFD.
read_text = partial(str, encoding="utf-8", errors="replace")


def drive(connection: sqlite3.Connection, script: Write[T]) -> T:
    """Run a script to its end inside the transaction that is open."""
    steps = script()
    try:
        step = next(steps)
        while True:
            step = steps.send(execute(connection, step))
    except StopIteration as stop:
        value: T = stop.value
        return value


class Turn:
    """What the loop and the thread know of each other's part in one transaction."""

    def __init__(self) -> None:
        self.is_given_up = False
        self.is_committing = False

    def check(self) -> None:
        if self.is_given_up:
            raise StoreUnavailable("nobody waits for this any more")


def transaction(
    connection: sqlite3.Connection, scripts: Sequence[Write[Any]], turn: Turn
) -> list[Any]:
    turn.check()
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [drive(connection, script) for script in scripts]
        # In this order: who gave up before now may say that nothing was written.
        turn.is_committing = True
        turn.check()
        connection.execute("COMMIT")
    except BaseException:
        # After SQLITE_FULL SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def translated(error: Exception) -> RelayError:
    """Turn an error of sqlite3 into ours; only a refused value is the caller's fault."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code in FULL_DISK:
        return StoreFull("no space left for the database")
    if code in DAMAGED:
        return UnsafeStore(damaged(error))
    if code == sqlite3.SQLITE_ERROR:
        return Unwritable(f"the database refused a statement: {error}")
    if isinstance(error, sqlite3.OperationalError | sqlite3.InternalError):
        return StoreUnavailable(f"the database does not answer: {error}")
    return DataRejected(f"the database refused a value: {error}")


class TimedOut(StoreUnavailable):
    """The thread goes on with what nobody waits for any more."""


class SqliteDatabase:
    single_writer = True

    def __init__(
        self,
        connection: aiosqlite.Connection,
        lock: int,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._timeout_s = timeout_s
        self._clock = clock
        # As it is, for it is asked many times for each mail.
        self.now = clock.now
        self._listeners: list[OnSignal] = []
        self._is_closed = False
        self._clock_task: asyncio.Task[None] | None = None

    async def steady_s(self) -> float:
        return math.inf

    def start(self) -> None:
        self._clock_task = asyncio.create_task(self._keep_clock())

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        return await self._in_thread(execute, Query(sql, values))

    async def write(self, script: Write[T]) -> T:
        results = await self.write_all([script])
        value: T = results[0]
        return value

    async def write_all(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        turn = Turn()
        try:
            return await self._in_thread(transaction, scripts, turn)
        except TimedOut:
            turn.is_given_up = True
            if turn.is_committing:
                raise CommitInDoubt("the answer to a commit did not come in time") from None
            raise

    async def spare_bytes(self) -> int:
        """Return how much of its file it does not use: deleted mail leaves its pages to the
        next.
        """
        pages = (await self.fetch("PRAGMA freelist_count"))[0][0]
        size_bytes = (await self.fetch("PRAGMA page_size"))[0][0]
        return int(pages * size_bytes)

    async def signal(self, topic: str, payload: str) -> None:
        for listener in self._listeners:
            listener(topic, payload)

    def on_signal(self, callback: OnSignal) -> None:
        self._listeners.append(callback)

    async def close(self) -> None:
        self._is_closed = True
        if self._clock_task:
            self._clock_task.cancel()
            await asyncio.gather(self._clock_task, return_exceptions=True)
        await self._connection.close()
        os.close(self._lock)

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            by_s = self._clock.behind_s()
            if was_set(by_s):
                await self._follow_step(by_s)
            self._clock.follow(self._clock.behind_s())

    async def _follow_step(self, by_s: float) -> None:
        """Move what waits, once: nobody knows what became of a write without an answer."""
        try:
            await self._in_thread(self._step, by_s)
            maillog.clock_set(by_s=by_s)
        except RelayError as error:
            maillog.store_trouble(error)

    def _step(self, connection: sqlite3.Connection, by_s: float) -> None:
        """Change both in the thread that writes, so that nothing comes between them."""
        transaction(connection, [partial(move, by_s)], Turn())
        self._clock.follow(by_s)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        if self._is_closed:
            raise StoreUnavailable("the database is closed")
        try:
            # aiosqlite offers one statement a hop; `_execute` runs any function in its thread.
            call = self._connection._execute(function, self._connection._conn, *args)  # type: ignore[no-untyped-call]
            async with asyncio.timeout(self._timeout_s):
                result: T = await call
                return result
        except TimeoutError:
            raise TimedOut(f"the database did not answer in {self._timeout_s:g} s") from None
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
            raise translated(error) from error


def check_place(path: Path) -> None:
    """Raise UnsafeStore where SQLite cannot keep what it promises."""
    kind = network_kind(path.parent)
    if kind is not None:
        raise UnsafeStore(
            f"{path} is on a network file system ({kind}), where SQLite can lose mail: keep it on a"
            " local disk, or use PostgreSQL"
        )


def is_gone(path: Path, seen: bytes) -> bool:
    """Say whether a database that was here (see `locked`) is not any more."""
    return SEEN in seen and not (path.exists() and path.stat().st_size)


def locked(path: Path) -> int:
    """Take the file's lock for this process, or say who has it. The lock remembers that there was a
    database: one that vanished must not be replaced by an empty one in silence.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode(errors="replace").split("\n")[0] or "unknown"
        os.close(descriptor)
        raise StoreLocked(
            f"{path} is in use by another Pillarbox (pid {owner}); stop it first, or use PostgreSQL"
            " to run several nodes"
        ) from None
    if is_gone(path, os.pread(descriptor, 64, 0)):
        os.close(descriptor)
        raise UnsafeStore(
            f"{path} is gone or empty, and there was a database: restore it (is its disk mounted?),"
            f" or delete {path}.lock to begin a new one"
        )
    there = SEEN if path.exists() and path.stat().st_size else b""
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n%s" % (os.getpid(), there), 0)
    return descriptor


def check_durability(connection: sqlite3.Connection) -> None:
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if (journal, synchronous) != ("wal", 2):
        raise UnsafeStore(
            f"SQLite runs with journal_mode={journal}, synchronous={synchronous}: an acknowledged"
            " mail could be lost; journal_mode=wal and synchronous=FULL are needed (is this a"
            " network file system?)"
        )


def check_soundness(connection: sqlite3.Connection) -> None:
    """Raise UnsafeStore for a damaged file; a big one would hold up the start, and is not read."""
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    if pages * page_bytes > CHECKED_BYTES:
        return
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise UnsafeStore(damaged(verdict))


def damaged(what: object) -> str:
    return f"the database file is damaged, restore a backup: {' '.join(str(what).split())}"


def prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.text_factory = read_text
    for pragma in PRAGMAS:
        connection.execute(pragma)
    check_durability(connection)
    check_soundness(connection)


async def open_sqlite(
    path: Path, *, timeout_s: float = 60.0, clock: Clock | None = None
) -> SqliteDatabase:
    """Open (or make, 0600) the database file.

    Raises StoreLocked, UnsafeStore when it is damaged or not durable, StoreUnavailable when it
    cannot be opened.
    """
    check_place(path)
    try:
        lock = locked(path)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    except (OSError, sqlite3.Error) as error:
        os.close(lock)
        raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
    database = SqliteDatabase(connection, lock, timeout_s, clock or Clock())
    try:
        await database._in_thread(prepare)
    except BaseException:
        await database.close()
        raise
    database.start()
    return database
