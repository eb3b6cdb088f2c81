"""A queue that is long: one mail is stored as any other, then copied inside the database.

The copies are what the store makes of an accepted mail, in every table and column, under ids that
sort by their number. They differ in nothing else, and are due at once.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import asyncpg

from bench.load import HEADER, LINE
from bench.pillarbox import ACCOUNT, TENANT
from relay.model import (
    ContentTraits,
    Envelope,
    Ingress,
    NewMail,
    Priority,
    Recipient,
    lane_of,
    new_pk,
)
from relay.store.database import Database, Query, Script
from relay.store.spool import Spool

AT_ONCE = 20_000
FAR_S = 1e9
LANE = lane_of(TENANT, ACCOUNT, "bench.test")

COPY = """
WITH RECURSIVE series (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM series
    WHERE i < CAST($2 AS BIGINT))
INSERT INTO {table} ({columns}) SELECT {expressions} FROM series, {table} WHERE {key} = $3
"""
PK = "substr({key}, 1, 24) || substr(CAST(1000000000000 + i AS TEXT), 2)"
# What is not as in the mail that is copied: that one is due in the far future.
CHANGES: Mapping[str, Mapping[str, str]] = {
    "messages": {"pk": PK.format(key="pk"), "id": PK.format(key="pk"), "deferred_ts": "NULL"},
    "contents": {"message_pk": PK.format(key="message_pk")},
    "recipients": {
        "message_pk": PK.format(key="message_pk"),
        "state": "'queued'",
        "due_at": f"due_at - {FAR_S}",
    },
    "events": {"message_pk": PK.format(key="message_pk")},
}


class Stock:
    """Mail that waits in a store, of which there can always be more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pk = ""
        self._made = 0

    async def begin(self, spool: Spool, size_bytes: int) -> None:
        """Store the mail that all are copies of."""
        mail = original(self._database.now(), size_bytes)
        self._pk = (await spool.accept(mail)).pk

    async def add(self, mails: int) -> None:
        first, last = self._made + 1, self._made + mails
        for start in range(first, last + 1, AT_ONCE):
            end = min(start + AT_ONCE - 1, last)
            for table in CHANGES:
                await self._copy(table, start, end)
        self._made = last

    async def _copy(self, table: str, first: int, last: int) -> None:
        columns = await self._columns(table)
        sql = copy_of(table, columns)

        def script() -> Script[None]:
            yield Query(sql, (first, last, self._pk))

        await self._database.write(script)

    async def _columns(self, table: str) -> list[str]:
        select = f"SELECT * FROM {table} WHERE {key_of(table)} = $1"
        [row] = await self._database.fetch(select, self._pk)
        return list(dict(cast(Any, row)))  # a row of either engine is a mapping


def key_of(table: str) -> str:
    return next(iter(CHANGES[table]))


def copy_of(table: str, columns: Sequence[str]) -> str:
    changes = CHANGES[table]
    return COPY.format(
        table=table,
        key=key_of(table),
        columns=", ".join(columns),
        expressions=", ".join(changes.get(column, column) for column in columns),
    )


def original(now: float, size_bytes: int) -> NewMail:
    content = HEADER + LINE * max(1, (size_bytes - len(HEADER)) // len(LINE))
    pk = new_pk(now)
    return NewMail(
        pk=pk,
        id=pk,
        tenant_id=TENANT,
        account_id=ACCOUNT,
        lane=LANE,
        priority=Priority.MEDIUM,
        envelope=Envelope("app@bench.test", (Recipient(0, "bob@bench.test"),)),
        content=content,
        traits=ContentTraits(longest_line=len(LINE) - 2),
        ingress=Ingress.SMTP,
        accepted_at=now,
        due_at=now + FAR_S,
        id_given=False,
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


def spool_of(database: Database) -> Spool:
    """Open a queue as a node of its own, with nobody who sends."""
    name = f"bench-{time.monotonic_ns()}"
    return Spool(database, node_id=name, lease_s=600, on_commit=lambda _seconds, _items: None)
