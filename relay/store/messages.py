"""Reading what was accepted: one message with its story, and lists of them. Nothing here changes
anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.formats.stored_json import object_in, objects_in
from relay.model import State
from relay.store import contents
from relay.store.database import Database, Row, Value

FIND = "SELECT * FROM messages WHERE tenant_id = $1 AND id = $2"
FIND_PK = "SELECT * FROM messages WHERE tenant_id = $1 AND pk = $2"
RECIPIENTS = """
SELECT message_pk, n, address, state, attempts, unknowns, code, reply, account_id, due_at,
    tried_at, final_at, bounced_at, bounce_type, bounce_code, bounce_reason
FROM recipients WHERE message_pk {among:$1} ORDER BY message_pk, n
"""
ATTEMPTS = """
SELECT account_id, started_at, ended_at, outcomes FROM attempts WHERE message_pk = $1 ORDER BY seq
"""
EVENTS = "SELECT seq, n, kind, at, data FROM events WHERE message_pk = $1 ORDER BY seq"
REPORTS = """
SELECT message_pk, MAX(reported_at) AS reported_at,
    MAX(CASE WHEN report = 'done' OR report = 'none' THEN 0 ELSE 1 END) AS unreported
FROM events WHERE message_pk {among:$1} GROUP BY message_pk
"""
SELECTED = """
(NOT CAST($3 AS BOOLEAN) OR m.final_at IS NULL)
    AND (CAST($4 AS TEXT) IS NULL OR m.account_id = $4) AND (CAST($5 AS TEXT) IS NULL OR
    m.batch_code = $5)
    AND (CAST($6 AS DOUBLE PRECISION) IS NULL OR m.accepted_at >= $6)
    AND (CAST($7 AS DOUBLE PRECISION) IS NULL OR m.accepted_at < $7)
    AND (CAST($8 AS TEXT) IS NULL OR EXISTS (
        SELECT 1 FROM recipients r WHERE r.message_pk = m.pk AND lower(r.address) = lower($8)))
"""
PAGE = f"""
SELECT * FROM messages m WHERE m.tenant_id = $1 AND m.pk > $2 AND {SELECTED}
ORDER BY m.pk LIMIT $9
"""  # noqa: S608 - every part is a constant of this file
PAGE_BACK = f"""
SELECT * FROM messages m WHERE m.tenant_id = $1 AND m.pk < $2 AND {SELECTED}
ORDER BY m.pk DESC LIMIT $9
"""  # noqa: S608 - as above
PAST_ALL = "g"  # a pk is hexadecimal


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages of a tenant; None is any. Times are Unix seconds of acceptance."""

    tenant_id: str
    active_only: bool = False
    account_id: str | None = None
    batch_code: str | None = None
    since: float | None = None
    until: float | None = None
    recipient: str | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class RecipientView:
    n: int
    address: str
    state: State
    attempts: int
    unknowns: int
    code: int | None
    reply: str | None
    account_id: str | None
    due_at: float
    tried_at: float | None
    final_at: float | None
    bounced_at: float | None = None
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None


@dataclass(frozen=True, slots=True)
class MessageView:
    """A stored message. `record` is the JSON object it was accepted with, without its bodies.

    `reported_at` is when its client had acknowledged all that happened to it; None while something
    is still to be reported, or nothing was.
    """

    pk: str
    id: str
    tenant_id: str
    account_id: str | None
    priority: int
    sender: str
    batch_code: str | None
    metadata: str | None
    record: str
    message_id: str | None
    ingress: str
    is_pec: bool
    size_bytes: int
    deferred_ts: float | None
    expires_at: float | None
    accepted_at: float
    updated_at: float
    final_at: float | None
    recipients: tuple[RecipientView, ...]
    reported_at: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptView:
    account_id: str
    started_at: float
    ended_at: float
    outcomes: tuple[dict[str, object], ...]


@dataclass(frozen=True, slots=True)
class EventView:
    seq: int
    n: int | None
    kind: str
    at: float
    data: dict[str, object]


class MessageStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant_id: str, key: str) -> MessageView | None:
        """Find by the client's id, else by pk."""
        rows = await self._database.fetch(FIND, tenant_id, key)
        rows = rows or await self._database.fetch(FIND_PK, tenant_id, key)
        views = await self._views(rows)
        return views[0] if views else None

    async def page(self, wanted: Filter, *, after: str = "", limit: int = 500) -> list[MessageView]:
        """Return up to `limit` messages in the order that is wanted, those past `after` in it."""
        sql = PAGE_BACK if wanted.newest_first else PAGE
        values: tuple[Value, ...] = (
            wanted.tenant_id,
            after or (PAST_ALL if wanted.newest_first else ""),
            wanted.active_only,
            wanted.account_id,
            wanted.batch_code,
            wanted.since,
            wanted.until,
            wanted.recipient,
            limit,
        )
        return await self._views(await self._database.fetch(sql, *values))

    async def attempts(self, pk: str) -> list[AttemptView]:
        rows = await self._database.fetch(ATTEMPTS, pk)
        return [
            AttemptView(
                r["account_id"], r["started_at"], r["ended_at"], tuple(objects_in(r["outcomes"]))
            )
            for r in rows
        ]

    async def events(self, pk: str) -> list[EventView]:
        rows = await self._database.fetch(EVENTS, pk)
        return [EventView(r["seq"], r["n"], r["kind"], r["at"], object_in(r["data"])) for r in rows]

    async def content(self, pk: str) -> bytes | None:
        """Return the mail's bytes, None when they were dropped."""
        return await contents.read(self._database, pk)

    async def _views(self, rows: Sequence[Row]) -> list[MessageView]:
        recipients: dict[str, list[RecipientView]] = {row["pk"]: [] for row in rows}
        if recipients:
            for row in await self._database.fetch(RECIPIENTS, sorted(recipients)):
                recipients[row["message_pk"]].append(recipient_view(row))
        reported = await self._reported(sorted(recipients))
        return [
            message_view(row, tuple(recipients[row["pk"]]), reported.get(row["pk"])) for row in rows
        ]

    async def _reported(self, pks: Sequence[str]) -> dict[str, float | None]:
        rows = await self._database.fetch(REPORTS, pks) if pks else ()
        return {r["message_pk"]: None if r["unreported"] else r["reported_at"] for r in rows}


def recipient_view(row: Row) -> RecipientView:
    return RecipientView(
        row["n"],
        row["address"],
        State(row["state"]),
        row["attempts"],
        row["unknowns"],
        row["code"],
        row["reply"],
        row["account_id"],
        row["due_at"],
        row["tried_at"],
        row["final_at"],
        row["bounced_at"],
        row["bounce_type"],
        row["bounce_code"],
        row["bounce_reason"],
    )


def message_view(
    row: Row, recipients: tuple[RecipientView, ...], reported_at: float | None
) -> MessageView:
    return MessageView(
        pk=row["pk"],
        id=row["id"],
        tenant_id=row["tenant_id"],
        account_id=row["account_id"],
        priority=row["priority"],
        sender=row["sender"],
        batch_code=row["batch_code"],
        metadata=row["metadata"],
        record=row["record"],
        message_id=row["message_id"],
        ingress=row["ingress"],
        is_pec=bool(row["is_pec"]),
        size_bytes=row["size_bytes"],
        deferred_ts=row["deferred_ts"],
        expires_at=row["expires_at"],
        accepted_at=row["accepted_at"],
        updated_at=row["updated_at"],
        final_at=row["final_at"],
        recipients=recipients,
        reported_at=reported_at,
    )
