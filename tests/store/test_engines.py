"""What the two engines refuse, translate and promise."""

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from relay.crypto import Keyring
from relay.errors import (
    ConfigError,
    DataRejected,
    StoreFull,
    StoreLocked,
    StoreUnavailable,
    UnsafeStore,
)
from relay.store import instance
from relay.store.database import Database, Each, Query, Script, Together
from relay.store.migrate import migrate, migrations
from relay.store.postgres import open_postgres
from relay.store.sqlite import SqliteDatabase, check_durability, open_sqlite
from tests.conftest import open_database

COUNT = "SELECT COUNT(*) AS n FROM instance"


def add(name: str, value: str = "x") -> Script[None]:
    yield Query("INSERT INTO instance (name, value) VALUES ($1, $2)", (name, value))


async def count(db: Database) -> int:
    return int((await db.fetch(COUNT))[0]["n"])


async def test_a_script_that_fails_leaves_nothing(db: Database) -> None:
    def script() -> Script[None]:
        yield from add("a")
        yield from add("a")

    with pytest.raises(DataRejected):
        await db.write(script)
    assert await count(db) == 0


async def test_scripts_of_one_write_are_all_or_none(db: Database) -> None:
    with pytest.raises(DataRejected):
        await db.write_all([lambda: add("a"), lambda: add("a")])
    assert await count(db) == 0


async def test_a_write_whose_caller_left_is_whole_or_absent(db: Database) -> None:
    def script() -> Script[None]:
        for number in range(200):
            yield from add(f"n{number}")

    task = asyncio.create_task(db.write(script))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await count(db) in (0, 200)


async def test_writes_side_by_side_do_not_undo_each_other(db: Database) -> None:
    def failing(number: int) -> Script[None]:
        yield from add(f"lost{number}")
        yield from add(f"lost{number}")

    writes = [db.write(lambda n=n: add(f"kept{n}")) for n in range(20)]  # type: ignore[misc]
    writes += [db.write(lambda n=n: failing(n)) for n in range(20)]  # type: ignore[misc]
    await asyncio.gather(*writes, return_exceptions=True)
    assert await count(db) == 20


async def test_marks_and_repeated_parameters_mean_the_same_on_both(db: Database) -> None:
    def script() -> Script[list[str]]:
        yield Each("INSERT INTO instance (value, name) VALUES ($2, $1)", [("a", "1"), ("b", "2")])
        rows = yield Query(
            "SELECT name FROM instance WHERE name {among:$1} AND value <> $2 AND name <> $2"
            " ORDER BY name {for_update}",
            (["a", "b", "c"], "1"),
        )
        return [row["name"] for row in rows]

    assert await db.write(script) == ["b"]


PARTS = (
    Each("INSERT INTO instance (name, value) {rows:TEXT, TEXT}", [("a", "1"), ("b", "2")]),
    Each(
        "UPDATE limits SET mails = mails + $3 {from:TEXT, BIGINT, BIGINT}"
        " WHERE account_id = $1 AND second = $2 AND mails < $3",
        [("x", 1, 8), ("y", 1, 8), ("z", 1, 2)],
    ),
    Each("DELETE FROM counters {using:TEXT} WHERE name = $1", [("epoch",), ("none",)]),
    Each("INSERT INTO contents (message_pk, body) {rows:TEXT, BYTEA}", [("m", b"\0\xff")]),
    Each("INSERT INTO api_keys (key_hash) {rows:TEXT}", []),
)


@pytest.mark.parametrize("steps", [PARTS, [Together(PARTS)]], ids=["alone", "together"])
async def test_statements_do_the_same_alone_and_together(
    db: Database, steps: Sequence[Each | Together]
) -> None:
    def do(step: Each | Together) -> Script[None]:
        yield step

    limits = Each("INSERT INTO limits VALUES ($1, $2, $3, $4)", [("t", n, 1, 5) for n in "xyz"])
    await db.write_all([partial(do, step) for step in (limits, *steps, Together(()))])
    names = await db.fetch("SELECT name, value FROM instance ORDER BY name")
    assert [(row["name"], row["value"]) for row in names] == [("a", "1"), ("b", "2")]
    mails = await db.fetch("SELECT mails FROM limits ORDER BY account_id")
    assert [row["mails"] for row in mails] == [13, 13, 5]
    assert await db.fetch("SELECT name FROM counters") == []
    assert bytes((await db.fetch("SELECT body FROM contents"))[0]["body"]) == b"\0\xff"


@pytest.mark.parametrize("value", [2**63, "\ud800", None])
async def test_one_refused_value_refuses_what_is_written_together(
    db: Database, value: int | str | None
) -> None:
    def script() -> Script[None]:
        yield Together(
            (
                Each("INSERT INTO instance (name, value) {rows:TEXT, TEXT}", [("a", "1")]),
                Each("INSERT INTO counters (name, value) {rows:TEXT, BIGINT}", [("n", value)]),
                Each("INSERT INTO feeds {rows:TEXT, BIGINT}", [("t", 1), (value, 1)]),
            )
        )

    with pytest.raises(DataRejected):
        await db.write(script)
    assert await count(db) == 0


async def test_migrating_twice_changes_nothing(db: Database) -> None:
    engine = "sqlite" if db.single_writer else "postgres"
    assert await migrate(db) == migrations(engine)[-1].version
    assert await migrate(db) == migrations(engine)[-1].version


async def test_a_database_of_a_newer_version_is_refused(db: Database) -> None:
    def script() -> Script[None]:
        yield Query("INSERT INTO schema_versions (version, name, applied_at) VALUES (9999, 'x', 0)")

    await db.write(script)
    with pytest.raises(UnsafeStore, match="9999"):
        await migrate(db)


async def test_nodes_that_start_together_migrate_once(postgres_dsn: str) -> None:
    databases = [await open_database(postgres_dsn) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(database) for database in databases))
    finally:
        for database in databases:
            await database.close()


async def test_another_key_than_the_databases_is_refused_and_changes_nothing(db: Database) -> None:
    first, other = Keyring([b"1" * 32]), Keyring([b"2" * 32])
    await instance.check_key(db, first)
    with pytest.raises(ConfigError, match="encryption_key"):
        await instance.check_key(db, other)
    await instance.check_key(db, first)


async def test_a_signal_reaches_every_node(db: Database, database_url: str) -> None:
    heard: list[tuple[str, str]] = []
    arrived = asyncio.Event()

    def listen(topic: str, payload: str) -> None:
        heard.append((topic, payload))
        arrived.set()

    db.on_signal(listen)
    async with asyncio.timeout(10):
        while not arrived.is_set():
            await db.signal("account", "acme/main")
            await asyncio.sleep(0.05)
    assert heard[0] == ("account", "acme/main")


@pytest.mark.parametrize("setting", ["synchronous_commit", "fsync"])
async def test_a_postgresql_that_may_lose_what_it_acknowledged_is_refused(
    postgres_dsn: str, setting: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    name = postgres_dsn.rpartition("/")[2]
    try:
        if setting == "fsync":
            await connection.execute("ALTER SYSTEM SET fsync = off")
            await connection.execute("SELECT pg_reload_conf()")
        else:
            await connection.execute(f"ALTER DATABASE {name} SET {setting} = off")
        with pytest.raises(UnsafeStore, match=f"{setting}=off"):
            await open_again_and_again(postgres_dsn)
    finally:
        await connection.execute("ALTER SYSTEM RESET ALL")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()


async def open_again_and_again(dsn: str) -> None:
    """Open until it is refused: a setting takes a moment to be in force."""
    async with asyncio.timeout(10):
        while True:
            await (await open_postgres(dsn)).close()


async def test_a_postgresql_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await open_postgres("postgresql://postgres@127.0.0.1:1/none", timeout_s=2)


async def test_a_database_name_that_does_not_exist_is_a_mistake_of_the_settings(
    postgres_server: str,
) -> None:
    with pytest.raises(ConfigError, match=r"database\.url"):
        await open_postgres(f"{postgres_server}_missing", timeout_s=5)


async def test_an_sqlite_that_is_not_synced_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    with pytest.raises(UnsafeStore, match="synchronous"):
        check_durability(connection)
    connection.close()


async def test_the_embedded_database_has_one_owner(tmp_path: Path) -> None:
    first = await open_sqlite(tmp_path / "x.db")
    with pytest.raises(StoreLocked, match="pid"):
        await open_sqlite(tmp_path / "x.db")
    await first.close()
    await (await open_sqlite(tmp_path / "x.db")).close()


async def test_a_damaged_database_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(UnsafeStore, match="damaged"):
        await open_sqlite(path)


async def test_a_full_database_says_so_and_works_again_when_there_is_room(tmp_path: Path) -> None:
    database = await open_sqlite(tmp_path / "x.db")
    await migrate(database)
    await limit_pages(database, 40)
    with pytest.raises(StoreFull):
        await database.write(lambda: add("big", "x" * 2_000_000))
    await limit_pages(database, 100_000)
    await database.write(lambda: add("small"))
    assert await count(database) == 1
    await database.close()


async def limit_pages(database: SqliteDatabase, pages: int) -> None:
    await database.fetch(f"PRAGMA max_page_count={pages}")


async def test_the_database_and_its_lock_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    database = await open_sqlite(tmp_path / "x.db")
    assert (tmp_path / "x.db").stat().st_mode & 0o077 == 0
    await database.close()
