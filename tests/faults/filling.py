"""A queue that is long: one mail is stored as any other, then copied inside the database.

The copies are what the store makes of an accepted mail, in every table and column, under ids that
sort by their number. They differ in nothing else but what `Filling` says of them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import asyncpg

from relay.model import NewMail, State
from relay.store.database import Database, Query, Script
from relay.store.spool import Spool

AT_ONCE = 20_000
FAR_S = 1e9

COPY = """
WITH RECURSIVE series (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM series
    WHERE i < CAST($2 AS BIGINT))
INSERT INTO {table} ({columns}) SELECT {expressions} FROM series, {table} WHERE {key} = $3
"""
PK = "substr({key}, 1, 24) || substr(CAST(1000000000000 + i AS TEXT), 2)"
KEYS = {
    "messages": "pk",
    "contents": "message_pk",
    "recipients": "message_pk",
    "events": "message_pk",
}


@dataclass(frozen=True, slots=True)
class Filling:
    """What the copies are; the mail that is copied is due in the far future. `wait_s` is from its
    acceptance until they are due. With `is_reported`, their events are still to be reported.
    """

    state: State = State.QUEUED
    wait_s: float = 0.0
    is_reported: bool = False

    def changes(self, table: str) -> Mapping[str, str]:
        """Return the expressions of the columns that are not as in the mail that is copied."""
        named = {KEYS[table]: PK.format(key=KEYS[table])}
        match table:
            case "messages":
                return {**named, "id": PK.format(key="pk"), "deferred_ts": "NULL"}
            case "recipients":
                due_at = f"due_at - {FAR_S - self.wait_s}"
                return {**named, "state": f"'{self.state.value}'", "due_at": due_at}
            case "events" if self.is_reported:
                # An event is numbered by its time, in microseconds.
                return {**named, "report": "'waiting'", "seq": "seq + i"}
            case _:
                return named


class Stock:
    """Mail that waits in a store, of which there can always be more."""

    def __init__(self, database: Database, filling: Filling | None = None) -> None:
        self._database = database
        self._filling = filling or Filling()
        self._pk = ""
        self._made = 0

    async def begin(self, spool: Spool, mail: NewMail) -> None:
        """Store the mail that all are copies of."""
        far = dataclasses.replace(mail, due_at=mail.accepted_at + FAR_S)
        self._pk = (await spool.accept(far)).pk

    async def add(self, mails: int) -> None:
        first, last = self._made + 1, self._made + mails
        for start in range(first, last + 1, AT_ONCE):
            end = min(start + AT_ONCE - 1, last)
            for table in KEYS:
                await self._copy(table, start, end)
        self._made = last

    async def _copy(self, table: str, first: int, last: int) -> None:
        columns = await self._columns(table)
        sql = copy_of(table, columns, self._filling.changes(table))

        def script() -> Script[None]:
            yield Query(sql, (first, last, self._pk))

        await self._database.write(script)

    async def _columns(self, table: str) -> list[str]:
        select = f"SELECT * FROM {table} WHERE {KEYS[table]} = $1"
        [row] = await self._database.fetch(select, self._pk)
        return list(dict(cast(Any, row)))  # a row of either engine is a mapping


def copy_of(table: str, columns: Sequence[str], changes: Mapping[str, str]) -> str:
    return COPY.format(
        table=table,
        key=KEYS[table],
        columns=", ".join(columns),
        expressions=", ".join(changes.get(column, column) for column in columns),
    )


async def settle_down(url: str) -> None:
    """Have PostgreSQL do now what it would do soon after so much was written; SQLite does nothing
    later.
    """
    if url.startswith("sqlite:"):
        return
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
