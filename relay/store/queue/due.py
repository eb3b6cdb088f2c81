"""Time passes: what waited becomes due, what is too old is found, and which lanes have work is
known cheaply.
"""

from collections.abc import Sequence

from relay.model import Delivery, Priority, new_pk
from relay.store.database import Database, Query, Row, Script
from relay.store.queue.aside import Desk
from relay.store.queue.claim import CLAIMED, deliveries
from relay.store.queue.fence import must_live

PROMOTE = """
WITH ripe AS MATERIALIZED (
    SELECT message_pk AS pk, n AS place FROM recipients WHERE state = 'deferred' AND due_at <= $1
    ORDER BY due_at LIMIT $2 {skip_locked})
UPDATE recipients SET state = 'queued'
FROM ripe WHERE message_pk = pk AND n = place
RETURNING lane
"""
NEXT_DUE = "SELECT MIN(due_at) FROM recipients WHERE state = 'deferred'"

# A loose index scan: one step in the index for each lane, however many recipients stand in it.
LANES = """
WITH RECURSIVE lanes (lane) AS (
    SELECT MIN(lane) FROM recipients WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT MIN(r.lane) FROM recipients r WHERE r.state = 'queued' AND r.lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL)
SELECT lane FROM lanes WHERE lane IS NOT NULL
"""
CLAIM_OLD = """
WITH old AS MATERIALIZED (
    SELECT message_pk AS pk, n AS place FROM recipients
    WHERE lane = $1 AND priority = $2 AND message_pk < $3 AND state = 'queued'
        AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.pk = message_pk AND m.expires_at IS NOT
        NULL)
    ORDER BY lane, priority, message_pk, n LIMIT $4 {skip_locked})
UPDATE recipients SET state = 'sending', owner = $5, claim = $6
FROM old WHERE message_pk = pk AND n = place
"""
CLAIM_EXPIRED = """
WITH old AS MATERIALIZED (
    SELECT r.message_pk AS pk, r.n AS place FROM recipients r
    WHERE r.state IN ('queued', 'deferred') AND r.message_pk IN (
        SELECT m.pk FROM messages m WHERE m.expires_at <= $1 AND m.expires_at IS NOT NULL AND
        m.final_at IS NULL
        ORDER BY m.expires_at LIMIT $2)
    {skip_locked})
UPDATE recipients SET state = 'sending', owner = $3, claim = $4
FROM old WHERE message_pk = pk AND n = place
"""


def promote(now: float, most: int) -> Script[list[str]]:
    """Make due what has waited long enough; return the lanes that got work, one entry a
    recipient.
    """
    rows = yield Query(PROMOTE, (now, most))
    return [row["lane"] for row in rows]


async def next_due(database: Database) -> float | None:
    """Return when the first waiting recipient is due (Unix seconds), None when none waits."""
    rows = await database.fetch(NEXT_DUE)
    return None if rows[0][0] is None else float(rows[0][0])


async def lanes_with_work(database: Database) -> list[str]:
    return [row["lane"] for row in await database.fetch(LANES)]


def claim_expired(desk: Desk, claim: int, most: int) -> Script[list[Delivery]]:
    """Lease mail whose own `expires_at` has passed, so that its end can be settled."""
    yield from must_live(desk.epoch)
    yield Query(CLAIM_EXPIRED, (desk.now, most, desk.epoch, claim))
    return (yield from deliveries((yield Query(CLAIMED, (desk.epoch, claim))), desk))


def claim_old(
    lane: str, before: float, desk: Desk, claim: int, most: int
) -> Script[list[Delivery]]:
    """Lease mail of a lane that was accepted before `before` and has no lifetime of its own."""
    yield from must_live(desk.epoch)
    for priority in Priority:
        yield Query(CLAIM_OLD, (lane, int(priority), new_pk(before), most, desk.epoch, claim))
    rows: Sequence[Row] = yield Query(CLAIMED, (desk.epoch, claim))
    return (yield from deliveries(rows, desk))
