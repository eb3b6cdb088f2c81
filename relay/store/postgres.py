"""The shared engine: PostgreSQL through an asyncpg pool, any number of nodes.

Promises: every connection is checked for `synchronous_commit`, `fsync` and `full_page_writes`
before it is used; only SQLSTATE classes 22 and 23 are the caller's fault, everything else is
temporary; no call takes longer than `timeout_s`, whatever the server does, and one whose COMMIT was
not answered says so; the time is the database's, kept as an offset to this machine's monotonic
clock, so a wall clock that is wrong or jumps changes nothing.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import asyncpg

from relay import maillog
from relay.errors import (
    CommitInDoubt,
    ConfigError,
    DataRejected,
    RelayError,
    StoreFull,
    StoreUnavailable,
    UnsafeStore,
    Unwritable,
)
from relay.store.clock import was_set
from relay.store.database import (
    TYPES,
    OnSignal,
    Query,
    Row,
    Step,
    Together,
    Value,
    Write,
    plain,
    render,
    types_of,
)

T = TypeVar("T")

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CHANNEL = "pillarbox"
CLOCK_EVERY_S = 10.0
SLOWEST_CLOCK_S = 0.5
LISTEN_PROBE_S = 30.0
CONFLICT_TRIES = 3

MARKS = {
    "among": "= ANY(CAST($n AS TEXT[]))",
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    "for_update": "FOR UPDATE",
    "for_share": "FOR SHARE",
    "key_share": "FOR KEY SHARE",
}

# The server has trouble, or the connection: connection lost, read-only, conflict, resources, not in
# a state for it, operator, system. Any other class is about the one statement.
TROUBLE_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})

DURABILITY = """
SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes',
    'synchronous_commit')
"""
SESSION = {
    "application_name": "pillarbox",
    # What is written or claimed has its index. A plan that was made while a table was empty must
    # not read all of it when it has grown, nor be compiled for what that seems to cost.
    "enable_seqscan": "off",
    "jit": "off",
    # A node that froze inside a transaction must not keep its locks.
    "idle_in_transaction_session_timeout": "15000",
}
PARAMETER = re.compile(r"\$(\d+)")
CLOCK = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
NOTIFY = "SELECT pg_notify($1, $2)"


@lru_cache(maxsize=512)
def compiled(sql: str) -> str:
    return render(plain(sql), MARKS)


async def drive(connection: Connection, script: Write[T]) -> T:
    """Run a script to its end inside the transaction that is open."""
    steps = script()
    try:
        step = next(steps)
        while True:
            step = steps.send(await execute(connection, step))
    except StopIteration as stop:
        value: T = stop.value
        return value


@lru_cache(maxsize=512)
def joined(texts: tuple[str, ...]) -> str:
    """Return one statement for several, each for many rows: a column of values is an array."""
    parts: list[str] = []
    first = 1
    for text in texts:
        mark = TYPES.search(text)
        assert mark is not None, text  # noqa: S101 - a statement of ours without its types
        types = types_of(mark)
        parts.append(for_arrays(text, mark[1], types, first))
        first += len(types)
    named = ", ".join(f"s{n} AS ({part})" for n, part in enumerate(parts))
    return f"WITH {named} SELECT 1"


def for_arrays(text: str, kind: str, types: Sequence[str], first: int) -> str:
    """Return a statement for all rows at once, the arrays of whose columns begin at `first`."""
    arrays = ", ".join(f"CAST(${n} AS {name}[])" for n, name in enumerate(types, first))
    if kind == "rows":
        return TYPES.sub(f"SELECT * FROM unnest({arrays})", text)  # noqa: S608 - types of our own statements
    columns = ", ".join(f"c{n}" for n in range(1, len(types) + 1))
    table = f"{kind.upper()} unnest({arrays}) AS given ({columns})"
    return TYPES.sub(table, PARAMETER.sub(r"given.c\1", text))


async def execute(connection: Connection, step: Step) -> Sequence[Row]:
    if isinstance(step, Query):
        rows: Sequence[Row] = await connection.fetch(compiled(step.sql), *step.values)
        return rows
    if isinstance(step, Together):
        parts = [part for part in step.parts if part.rows]
        columns = [column for part in parts for column in zip(*part.rows, strict=True)]
        if parts:
            await connection.execute(joined(tuple(part.sql for part in parts)), *columns)
    elif len(step.rows) == 1:
        await connection.execute(compiled(step.sql), *step.rows[0])
    elif step.rows:
        await connection.executemany(compiled(step.sql), step.rows)
    return ()


# All that asyncpg raises, and what the network does.
TROUBLE = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


def translated(error: Exception) -> RelayError:
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(("22", "23")):
        return DataRejected("the database refused a value")
    if state in ("40001", "40P01"):
        return Conflict("the database had to choose between two transactions")
    if state == "53100":
        return StoreFull("no space left for the database")
    if state and state[:2] not in TROUBLE_CLASSES:
        return Unwritable(f"the database refused a statement: {type(error).__name__}")
    return StoreUnavailable(f"the database does not answer: {type(error).__name__}")


def is_unanswered(error: BaseException | None) -> bool:
    """Say whether a COMMIT that ended so may have been done all the same.

    What the server says has its SQLSTATE; but it shuts down (57P), also while it waits for a
    standby to confirm what is committed already, and class 08 is of a connection that broke.
    """
    state = getattr(error, "sqlstate", None)
    return state is None or state.startswith(("57P", "08"))


async def unless_cut(connection: Connection, use: Callable[[Connection], Awaitable[T]]) -> T:
    """Use a connection; drop it where that is cancelled. asyncpg would wait until the server has
    confirmed the cancellation, and a server that is frozen does not.
    """
    try:
        return await use(connection)
    except asyncio.CancelledError:
        connection.terminate()
        raise


async def check_connection(connection: Connection) -> None:
    unsafe = [
        f"{r['name']}=off" for r in await connection.fetch(DURABILITY) if r["setting"] == "off"
    ]
    if unsafe:
        raise UnsafeStore(
            f"PostgreSQL runs with {', '.join(sorted(unsafe))}: an acknowledged mail could be lost;"
            " switch it on for this database and user"
        )


async def leave_as_it_is(_connection: Connection) -> None:
    """Save the round trip that would reset what none of our statements sets; asyncpg ends a
    transaction that is open by itself.
    """


class Conflict(StoreUnavailable):
    """Two transactions were in each other's way; the same script may run again at once."""


class PostgresDatabase:
    single_writer = False

    def __init__(self, pool: asyncpg.Pool, dsn: str, timeout_s: float) -> None:
        self._pool = pool
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._offset_s: float | None = None
        self._set_at = -math.inf
        self._listeners: list[OnSignal] = []
        self._tasks: list[asyncio.Task[None]] = []

    def now(self) -> float:
        return time.monotonic() + (self._offset_s or 0.0)

    async def steady_s(self) -> float:
        return time.monotonic() - self._set_at if await self._read_clock() else 0.0

    async def start(self) -> None:
        await self._read_clock()
        self._tasks = [asyncio.create_task(self._keep_clock()), asyncio.create_task(self._listen())]

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        async def read(connection: Connection) -> Sequence[Row]:
            return await execute(connection, Query(sql, values))

        return await self._with_connection(read)

    async def write(self, script: Write[T]) -> T:
        results = await self.write_all([script])
        value: T = results[0]
        return value

    async def write_all(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        for _ in range(CONFLICT_TRIES - 1):
            with suppress(Conflict):
                return await self._write_once(scripts)
        return await self._write_once(scripts)

    async def _write_once(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        is_committing = False

        async def run(connection: Connection) -> list[Any]:
            nonlocal is_committing
            transaction = connection.transaction()
            await transaction.start()
            try:
                results = [await drive(connection, script) for script in scripts]
            except Exception:
                await transaction.rollback()
                raise
            is_committing = True
            await transaction.commit()
            return results

        try:
            return await self._with_connection(run)
        except StoreUnavailable as error:
            if is_committing and is_unanswered(error.__cause__):
                raise CommitInDoubt("the answer to a commit was lost") from error
            raise

    async def signal(self, topic: str, payload: str) -> None:
        # This node hears of it at once, and again when PostgreSQL tells everybody.
        self._tell(topic, payload)
        await self.fetch(NOTIFY, CHANNEL, f"{topic} {payload}")

    def on_signal(self, callback: OnSignal) -> None:
        self._listeners.append(callback)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TROUBLE:
            self._pool.terminate()

    async def _with_connection(self, use: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s), self._pool.acquire() as connection:
                return await unless_cut(connection, use)
        except TROUBLE as error:
            raise translated(error) from error

    async def _read_clock(self) -> bool:
        """Take the database's time; return whether it could be told."""
        before = time.monotonic()
        rows = await self.fetch(CLOCK)
        after = time.monotonic()
        # Of an answer that took long, be it that this node was frozen, nobody knows when it held.
        if self._offset_s is not None and after - before > SLOWEST_CLOCK_S:
            return False
        offset_s = float(rows[0][0]) - (before + after) / 2
        if self._offset_s is not None and was_set(offset_s - self._offset_s):
            self._set_at = after
            maillog.clock_set(by_s=offset_s - self._offset_s)
        self._offset_s = offset_s
        return True

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            with suppress(StoreUnavailable):
                await self._read_clock()

    async def _listen(self) -> None:
        """Hold one connection for LISTEN; a lost one is replaced, since every wake-up has a poll
        behind it.
        """
        while True:
            with suppress(*TROUBLE):
                await self._listen_on(await asyncpg.connect(self._dsn, timeout=self._timeout_s))
            await asyncio.sleep(1)

    async def _listen_on(self, connection: asyncpg.Connection) -> None:
        """Hear signals until the connection is lost; ask now and then whether it is."""
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: closed.set())
            await connection.add_listener(CHANNEL, self._on_notify)
            while not closed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LISTEN_PROBE_S):
                        await closed.wait()
                await connection.execute("SELECT 1", timeout=self._timeout_s)
        finally:
            connection.terminate()

    def _on_notify(self, _connection: object, _pid: int, _channel: str, text: object) -> None:
        topic, _, payload = str(text).partition(" ")
        self._tell(topic, payload)

    def _tell(self, topic: str, payload: str) -> None:
        for listener in self._listeners:
            listener(topic, payload)


async def open_postgres(
    dsn: str, *, pool_size: int = 10, timeout_s: float = 15.0
) -> PostgresDatabase:
    """Connect and check. Raises UnsafeStore, StoreUnavailable, ConfigError (no such database, wrong
    password).
    """
    try:
        async with asyncio.timeout(timeout_s):
            pool = await asyncpg.create_pool(
                dsn,
                min_size=2,
                max_size=max(4, pool_size),
                command_timeout=timeout_s,
                init=check_connection,
                reset=leave_as_it_is,
                server_settings=SESSION
                | {
                    # A statement whose node has given up must not wait for its lock for ever.
                    "statement_timeout": str(int(timeout_s * 1000)),
                },
            )
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ) as error:
        raise ConfigError(f"database.url: PostgreSQL refuses the connection: {error}") from error
    except TROUBLE as error:
        raise StoreUnavailable(f"PostgreSQL does not answer: {type(error).__name__}") from error
    except ValueError as error:
        raise ConfigError("database.url: this is no PostgreSQL URL") from error
    database = PostgresDatabase(pool, dsn, timeout_s)
    try:
        await database.start()
    except BaseException:
        await database.close()
        raise
    return database
