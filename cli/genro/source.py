"""The database of a genro-mail-proxy, 0.6 or 0.7, on SQLite or PostgreSQL: read, never changed.

All is read in one transaction, so that it fits together while the service still writes. Both
versions have the columns that matter; rows are given as they are, and who reads them asks for
columns that one version lacks.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from cli.failure import EX_UNAVAILABLE, Failure

TENANTS = "SELECT * FROM tenants ORDER BY id"
ACCOUNTS = "SELECT * FROM accounts ORDER BY tenant_id, id"
# Of each tenant in the order in which it would have been sent.
PENDING = (
    "SELECT * FROM messages WHERE smtp_ts IS NULL ORDER BY tenant_id, priority, created_at, pk"
)
UNREPORTED = "SELECT COUNT(*) AS total FROM message_events WHERE reported_ts IS NULL"

ROWS_AT_ONCE = 500
CONNECT_TIMEOUT_S = 15.0
QUERY_TIMEOUT_S = 300.0
POSTGRES = ("postgresql://", "postgres://")

Row = dict[str, Any]


class Source(Protocol):
    def rows(self, query: str) -> Iterator[Row]: ...


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """Open a database by its path or URL. Raises Failure, as reading from it does."""
    if name.startswith(POSTGRES):
        with asyncio.Runner() as runner, postgres(name, runner) as source:
            yield source
    else:
        with sqlite(Path(name.removeprefix("sqlite:"))) as source:
            yield source


class SqliteSource:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, query: str) -> Iterator[Row]:
        cursor = self._connection.execute(query)
        names = [column[0] for column in cursor.description]
        for values in cursor:
            yield dict(zip(names, values, strict=True))


@contextmanager
def sqlite(path: Path) -> Iterator[SqliteSource]:
    if not path.is_file():
        raise Failure(f"{path}: there is no such file", os.EX_NOINPUT)
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.isolation_level = None
            connection.execute("BEGIN")
            yield SqliteSource(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise not_theirs(str(path), error) from None


class PostgresSource:
    """Read from plain code: each wait is a turn of a loop of its own."""

    def __init__(self, connection: "asyncpg.Connection[Any]", runner: asyncio.Runner) -> None:
        self._connection = connection
        self._runner = runner

    def rows(self, query: str) -> Iterator[Row]:
        cursor = self._runner.run(self._cursor(query))
        while batch := self._runner.run(cursor.fetch(ROWS_AT_ONCE, timeout=QUERY_TIMEOUT_S)):
            yield from map(dict, batch)

    async def _cursor(self, query: str) -> Any:
        return await self._connection.cursor(query)


@contextmanager
def postgres(url: str, runner: asyncio.Runner) -> Iterator[PostgresSource]:
    place = url.rpartition("@")[2]
    try:
        connection = runner.run(connect(url))
    except asyncpg.PostgresError as error:
        raise not_theirs(place, error) from None
    except (OSError, TimeoutError, ValueError, asyncpg.InterfaceError) as error:
        raise Failure(f"{place}: {error or type(error).__name__}", EX_UNAVAILABLE) from None
    try:
        yield PostgresSource(connection, runner)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise not_theirs(place, error) from None
    finally:
        connection.terminate()


async def connect(url: str) -> "asyncpg.Connection[Any]":
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    await connection.transaction(isolation="repeatable_read", readonly=True).start()
    return connection


def not_theirs(place: str, error: Exception) -> Failure:
    text = f"{place}: not the database of a genro-mail-proxy 0.6.5 or newer, or not readable"
    return Failure(f"{text}: {error}", os.EX_DATAERR)
