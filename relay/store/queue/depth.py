"""How much waits in the queue, by state and priority."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.model import Priority
from relay.store.database import Database, Row
from relay.store.slices import SLICE, Index, slices

QUEUED = Index(
    "recipients",
    "state = 'queued'",
    ("lane", "priority", "message_pk", "n"),
    ("", -1, "", -1),
    "priority, message_pk",
    "priority, MIN(message_pk) AS oldest",
    "priority",
)
DEFERRED = Index(
    "recipients",
    "state = 'deferred'",
    ("due_at", "message_pk", "n"),
    (-1.0, "", -1),
    "priority",
    "priority",
    "priority",
)
SUSPENDED = Index(
    "recipients",
    "state = 'suspended'",
    ("message_pk", "n"),
    ("", -1),
    "priority",
    "priority",
    "priority",
)
# Nodes hold what they lease in memory: it is never much.
SENDING = """
SELECT priority, COUNT(*) AS rows FROM recipients WHERE state = 'sending' GROUP BY priority
"""
ACCEPTED = "SELECT accepted_at FROM messages WHERE pk = $1"

Counts = dict[tuple[str, Priority], int]


@dataclass(frozen=True, slots=True)
class Depth:
    """The recipients that are not final by (state, priority); when the oldest mail that is due was
    accepted (Unix seconds), None when nothing is due.
    """

    recipients: Mapping[tuple[str, Priority], int] = field(default_factory=dict)
    oldest_at: float | None = None

    @property
    def by_state(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for (state, _), count in self.recipients.items():
            totals[state] = totals.get(state, 0) + count
        return totals


async def depth(database: Database, *, size: int = SLICE) -> Depth:
    counts: Counts = {}
    firsts: list[str] = []
    async for rows in slices(database, QUEUED, size=size):
        add(counts, "queued", rows)
        firsts += [row["oldest"] for row in rows]
    for state, index in (("deferred", DEFERRED), ("suspended", SUSPENDED)):
        async for rows in slices(database, index, size=size):
            add(counts, state, rows)
    add(counts, "sending", await database.fetch(SENDING))
    return Depth(counts, await accepted_at(database, min(firsts, default=None)))


def add(counts: Counts, state: str, rows: Sequence[Row]) -> None:
    for row in rows:
        key = state, Priority(row["priority"])
        counts[key] = counts.get(key, 0) + row["rows"]


async def accepted_at(database: Database, pk: str | None) -> float | None:
    rows = await database.fetch(ACCEPTED, pk) if pk else ()
    return rows[0]["accepted_at"] if rows else None
