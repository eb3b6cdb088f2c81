"""Bring the schema to this version: numbered SQL files, each applied once, forward only, under a
lock.

A file is `NNNN_name.sql` for both engines, or `NNNN_name.sqlite.sql` / `NNNN_name.postgres.sql`
where it cannot be portable. One file is one transaction. A database of a newer version stops the
start.
"""

import re
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from relay.errors import UnsafeStore
from relay.store.database import Database, Query, Script

FILE = re.compile(r"(\d{4})_(\w+?)(?:\.(sqlite|postgres))?\.sql")

CREATE = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at DOUBLE PRECISION NOT NULL)
"""
LOCK = "SELECT pg_advisory_xact_lock(7452163)"
APPLIED = "SELECT version FROM schema_versions"
RECORD = "INSERT INTO schema_versions (version, name, applied_at) VALUES ($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    statements: tuple[str, ...]


def migrations(engine: str) -> list[Migration]:
    """Read the files that belong to `engine` ("sqlite" or "postgres"), oldest first."""
    found = []
    for entry in files("relay.store").joinpath("migrations").iterdir():
        match = FILE.fullmatch(entry.name)
        if match and match[3] in (None, engine):
            found.append(Migration(int(match[1]), match[2], statements(entry.read_text())))
    return sorted(found, key=lambda m: m.version)


def statements(text: str) -> tuple[str, ...]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    parts = "\n".join(lines).split(";\n")
    return tuple(part.strip().rstrip(";") for part in parts if part.strip())


def apply(migration: Migration, *, shared: bool, now: float) -> Script[bool]:
    if shared:
        yield Query(LOCK)
    yield Query(CREATE)
    applied = {row[0] for row in (yield Query(APPLIED))}
    if migration.version in applied:
        return False
    for sql in migration.statements:
        yield Query(sql)
    yield Query(RECORD, (migration.version, migration.name, now))
    return True


def standing(*, shared: bool) -> Script[int]:
    if shared:
        yield Query(LOCK)
    yield Query(CREATE)
    return max((int(row[0]) for row in (yield Query(APPLIED))), default=0)


async def check_version(database: Database) -> int:
    """Return the version of a database, 0 for a new one. Raises UnsafeStore for one of a newer
    Pillarbox: nothing in it is changed.
    """
    shared = not database.single_writer
    newest = await database.write(partial(standing, shared=shared))
    ours = migrations("postgres" if shared else "sqlite")[-1].version
    if newest > ours:
        raise UnsafeStore(
            f"this database is of schema version {newest}, this Pillarbox knows {ours}: start the"
            " newer Pillarbox, or restore the backup made before the upgrade"
        )
    return newest


async def migrate(database: Database) -> int:
    """Apply what is missing and return the version. Raises UnsafeStore as above."""
    await check_version(database)
    shared = not database.single_writer
    known = migrations("postgres" if shared else "sqlite")
    for migration in known:
        await database.write(partial(apply, migration, shared=shared, now=database.now()))
    return known[-1].version
