"""Events as others read them: the feed, what is parked, and rejections, which have no message.

The feed gives every event once and skips none, though transactions commit in another order than the
events are numbered by time. So the time is no cursor. An event gets its number when it is first
read, under the lock of its tenant's feed: whatever commits later gets a higher one. Numbers are
therefore seen in order, on both engines, whatever the clocks and the other transactions do.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from relay.formats.stored_json import object_in
from relay.model import new_pk
from relay.store.database import Database, Each, Query, Row, Script, Value
from relay.store.slices import Index, slices

# What one transaction changes at most, however much has gathered.
PORTION = 10_000

SHOWN = """
e.message_pk, e.seq, e.tenant_id, e.kind, e.at, e.data, e.refused_at, e.number,
    COALESCE(m.id, d.id) AS id, m.metadata
FROM events e LEFT JOIN messages m ON m.pk = e.message_pk
    LEFT JOIN deleted_messages d ON d.pk = e.message_pk
"""
IN_FEED = "e.kind <> 'accepted' AND e.kind <> 'replaced'"
OPEN_FEED = """
INSERT INTO feeds (tenant_id, last_number) VALUES ($1, 0) ON CONFLICT (tenant_id) DO NOTHING
"""
LOCK_FEED = "SELECT last_number FROM feeds WHERE tenant_id = $1 {for_update}"
NEW = f"""
SELECT e.message_pk, e.seq FROM events e WHERE e.tenant_id = $1 AND e.number = 0 AND {IN_FEED}
ORDER BY e.seq LIMIT $2
"""  # noqa: S608 - every part is a constant of this file
NUMBER = "UPDATE events SET number = $3 WHERE message_pk = $1 AND seq = $2"
ADVANCE_FEED = "UPDATE feeds SET last_number = $2 WHERE tenant_id = $1"
FEED = f"""
SELECT {SHOWN} WHERE e.tenant_id = $1 AND e.number > $2 AND {IN_FEED}
ORDER BY e.number LIMIT $3
"""
PARKED = f"""
SELECT {SHOWN} WHERE e.tenant_id = $1 AND e.report = 'parked'
    AND (e.seq > $2 OR (e.seq = $2 AND e.message_pk > $3))
ORDER BY e.seq, e.message_pk LIMIT $4
"""
REPLAY_SOME = """
UPDATE events SET report = 'waiting', refused_at = NULL WHERE (message_pk, seq) IN (
    SELECT message_pk, seq FROM events WHERE tenant_id = $1 AND report = 'parked'
    ORDER BY seq LIMIT $2)
RETURNING seq
"""
REPLAY = """
UPDATE events SET report = 'waiting', refused_at = NULL
WHERE tenant_id = $1 AND report = 'parked' AND message_pk = $2 AND seq = $3 RETURNING seq
"""
START_AFRESH = """
UPDATE reporters SET beat_at = 0, hold_until = 0, failures = 0, failing_since = NULL
WHERE tenant_id = $1
"""
# A rejection of a tenant that is not there is nobody's.
INSERT_REJECTION = """
INSERT INTO events (message_pk, seq, tenant_id, kind, at, data, report)
SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), t.id, 'rejected', CAST($4 AS DOUBLE PRECISION),
    CAST($5 AS TEXT), CASE WHEN t.client_base_url IS NULL THEN 'none' ELSE 'waiting' END
FROM tenants t WHERE t.id = $3
"""
# An event is numbered by its time: hardly two of a tenant have the same number.
WAITING = Index(
    "events",
    "report = 'waiting'",
    ("tenant_id", "seq"),
    ("", -1),
    "tenant_id",
    "tenant_id",
    "tenant_id",
)
HELD = replace(WAITING, where="report = 'held'")

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Something that happened to a recipient, or to a message that was rejected (`is_rejection`).

    `id` is the client's id of the message, `number` its place in the feed (0: none yet), `metadata`
    the message's JSON object as text.
    """

    message_pk: str
    seq: int
    tenant_id: str
    kind: str
    at: float
    data: dict[str, object]
    id: str
    metadata: str | None = None
    refused_at: float | None = None
    number: int = 0

    @property
    def place(self) -> Place:
        return self.message_pk, self.seq

    @property
    def event_id(self) -> str:
        """Name it the same way at every delivery."""
        return f"{self.message_pk}.{self.seq}"

    @property
    def is_rejection(self) -> bool:
        return self.kind == "rejected"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that was not accepted; `id` is the client's."""

    tenant_id: str
    id: str
    reason: str


def place_of(event_id: str) -> Place | None:
    """Return where an event is stored, None when this is no id of ours."""
    message_pk, _, seq = event_id.rpartition(".")
    is_ours = message_pk and seq.isascii() and seq.isdigit() and len(seq) <= 18
    return (message_pk, int(seq)) if is_ours else None


def stored_event(row: Row) -> StoredEvent:
    data = object_in(row["data"])
    return StoredEvent(
        message_pk=row["message_pk"],
        seq=row["seq"],
        tenant_id=row["tenant_id"],
        kind=row["kind"],
        at=row["at"] if isinstance(row["at"], float) else row["seq"] / 1e6,
        data=data,
        id=row["id"] or str(data.get("id") or row["message_pk"]),
        metadata=row["metadata"],
        refused_at=row["refused_at"],
        number=row["number"],
    )


class EventStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def feed(self, tenant_id: str, after: int, most: int) -> list[StoredEvent]:
        """Return up to `most` events past number `after`, in the order in which they are given to
        everybody.
        """
        events = await self._numbered(tenant_id, after, most)
        if len(events) == most:
            return events
        if await self._database.fetch(NEW, tenant_id, 1):
            await self._database.write(partial(number_new, tenant_id, most))
            events = await self._numbered(tenant_id, after, most)
        return events

    async def parked(self, tenant_id: str, after: Place | None, most: int) -> list[StoredEvent]:
        """Return up to `most` events that were given up, oldest first, past one of them."""
        message_pk, seq = after or ("", -1)
        rows = await self._database.fetch(PARKED, tenant_id, seq, message_pk, most)
        return [stored_event(row) for row in rows]

    async def replay(self, tenant_id: str, places: Sequence[Place] | None) -> int:
        """Have parked events reported again, all or those named; return how many."""
        if places is not None:
            return await self._database.write(partial(replay, tenant_id, places))
        count = 0
        while portion := await self._database.write(partial(replay_some, tenant_id)):
            count += portion
        return count

    async def report_rejections(self, rejections: Sequence[Rejection]) -> None:
        """Tell clients in their next report what was not accepted; tenants that are unknown are
        passed over.
        """
        rows = [rejection_row(r, self._database.now(), n) for n, r in enumerate(rejections)]
        await self._database.write(partial(insert_rejections, rows))

    async def backlog(self) -> dict[str, int]:
        """Count the events that each tenant is still to be told of."""
        counts: dict[str, int] = {}
        for index in (WAITING, HELD):
            async for rows in slices(self._database, index):
                for row in rows:
                    counts[row["tenant_id"]] = counts.get(row["tenant_id"], 0) + row["rows"]
        return counts

    async def _numbered(self, tenant_id: str, after: int, most: int) -> list[StoredEvent]:
        return [stored_event(r) for r in await self._database.fetch(FEED, tenant_id, after, most)]


def number_new(tenant_id: str, most: int) -> Script[None]:
    """Give the next numbers of the feed to events that have none."""
    yield Query(OPEN_FEED, (tenant_id,))
    last = (yield Query(LOCK_FEED, (tenant_id,)))[0]["last_number"]
    # Read after the lock: so it sees all that was committed when the last number was given.
    rows = yield Query(NEW, (tenant_id, most))
    numbered = [(r["message_pk"], r["seq"], last + n) for n, r in enumerate(rows, 1)]
    if numbered:
        yield Each(NUMBER, numbered)
        yield Query(ADVANCE_FEED, (tenant_id, last + len(numbered)))


def replay(tenant_id: str, places: Sequence[Place]) -> Script[int]:
    """Put parked events back into the outbox, and call the client as if it had never failed."""
    count = 0
    for message_pk, seq in places:
        count += len((yield Query(REPLAY, (tenant_id, message_pk, seq))))
    yield Query(START_AFRESH, (tenant_id,))
    return count


def replay_some(tenant_id: str) -> Script[int]:
    """Put one portion of the parked events back; return how many, 0 when none is left."""
    rows = yield Query(REPLAY_SOME, (tenant_id, PORTION))
    yield Query(START_AFRESH, (tenant_id,))
    return len(rows)


def rejection_row(rejection: Rejection, now: float, n: int) -> tuple[Value, ...]:
    data = json.dumps({"id": rejection.id, "reply": rejection.reason})
    return new_pk(now), int(now * 1e6) + n, rejection.tenant_id, now, data


def insert_rejections(rows: Sequence[tuple[Value, ...]]) -> Script[None]:
    yield Each(INSERT_REJECTION, rows)
