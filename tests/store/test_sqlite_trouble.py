"""SQLite whose lock somebody else holds: how long it is waited for, and what is done afterwards."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.errors import CommitInDoubt, StoreUnavailable
from relay.store.database import Query, Script
from relay.store.migrate import migrate
from relay.store.sqlite import SqliteDatabase, open_sqlite

PATIENCE_S = 0.1


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await open_sqlite(tmp_path / "a.db")
    await migrate(database)
    await database.close()
    # Less than SQLite itself waits for a lock.
    database = await open_sqlite(tmp_path / "a.db", timeout_s=PATIENCE_S)
    yield database
    await database.close()


def insert() -> Script[None]:
    yield Query("INSERT INTO instance (name, value) VALUES ('a', 'x')")


async def test_a_write_that_nobody_waits_for_any_more_is_not_done(
    lite: SqliteDatabase, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable) as caught:
        await lite.write(insert)
    assert not isinstance(caught.value, CommitInDoubt)
    other.execute("ROLLBACK")
    other.close()
    while True:
        try:
            rows = await lite.fetch("SELECT 1 FROM instance WHERE name = 'a'")
            break
        except StoreUnavailable:  # the thread is at the write still
            await asyncio.sleep(0)
    assert rows == []


async def test_somebody_elses_lock_costs_little_time(tmp_path: Path) -> None:
    database = await open_sqlite(tmp_path / "a.db")
    await migrate(database)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await database.write(insert)
    assert time.monotonic() - began < 2
    other.execute("ROLLBACK")
    other.close()
    await database.write(insert)
    await database.close()
