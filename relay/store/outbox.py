"""The outbox: which tenants are to be called, and the events that they have not acknowledged yet.

Promises: one node at a time calls a tenant (a lease under the node's epoch, which ends with the
node); an event leaves the outbox only when the client acknowledged it, under the fence; the events
of one message are given in their order. What a client refuses is held until the next beat, with
what follows it of the same message, so that it does not stand in the way of the others.

Who has something to say is found by one step in an index for each such tenant, however many events
wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay.errors import Fenced
from relay.store.database import Database, Each, Query, Script
from relay.store.events import PORTION, SHOWN, Place, StoredEvent, stored_event
from relay.store.queue.fence import NODE_LIVES, must_live

ENROL = """
INSERT INTO reporters (tenant_id, beat_at, hold_until, quiet_until, failures)
VALUES ($1, 0, 0, 0, 0)
ON CONFLICT (tenant_id) DO UPDATE SET beat_at = 0, hold_until = 0
"""
DISMISS = "DELETE FROM reporters WHERE tenant_id = $1"

# A loose index scan: one step in the index for each tenant.
WAITING = """
WITH RECURSIVE tenants_waiting (tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE report = 'waiting'
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e
        WHERE e.report = 'waiting' AND e.tenant_id > tenants_waiting.tenant_id)
    FROM tenants_waiting WHERE tenants_waiting.tenant_id IS NOT NULL)
SELECT tenant_id FROM tenants_waiting WHERE tenant_id IS NOT NULL
"""
DUE = """
SELECT tenant_id, failures, beat_at FROM reporters
WHERE beat_at <= $1 AND (owner IS NULL OR owner = $2
    OR NOT EXISTS (SELECT 1 FROM nodes WHERE epoch = owner))
UNION
SELECT tenant_id, failures, beat_at FROM reporters
WHERE tenant_id {among:$3} AND hold_until <= $1 AND (owner IS NULL OR owner = $2
    OR NOT EXISTS (SELECT 1 FROM nodes WHERE epoch = owner))
ORDER BY failures, beat_at LIMIT $4
"""
MAKE_DUE = "UPDATE reporters SET beat_at = 0, hold_until = 0 WHERE tenant_id = $1"
MAKE_ALL_DUE = "UPDATE reporters SET beat_at = 0, hold_until = 0"

LOCK = "SELECT * FROM reporters WHERE tenant_id = $1 {skip_locked}"
OWN = "UPDATE reporters SET owner = $2, beat_at = $3 WHERE tenant_id = $1"
OWNER = "SELECT owner FROM reporters WHERE tenant_id = $1 {for_update}"
UNHOLD = """
UPDATE events SET report = 'waiting' WHERE (message_pk, seq) IN (
    SELECT message_pk, seq FROM events WHERE tenant_id = $1 AND report = 'held'
    ORDER BY seq LIMIT $2)
"""
# Looked for among the next ones only: more may wait than can be looked through.
HOLD_FOLLOWERS = """
UPDATE events SET report = 'held' WHERE report = 'waiting' AND (message_pk, seq) IN (
    SELECT e.message_pk, e.seq FROM (
        SELECT message_pk, seq FROM events WHERE tenant_id = $1 AND report = 'waiting'
        ORDER BY seq LIMIT $2) AS e
    WHERE EXISTS (SELECT 1 FROM events h
        WHERE h.message_pk = e.message_pk AND h.seq < e.seq AND h.report = 'held'))
RETURNING seq
"""
BATCH = f"SELECT {SHOWN} WHERE e.tenant_id = $1 AND e.report = 'waiting' ORDER BY e.seq LIMIT $2"
DONE = """
UPDATE events SET report = 'done', reported_at = $3 WHERE message_pk = $1 AND seq = $2
    AND report = 'waiting'
"""
HOLD = """
UPDATE events SET report = 'held', refused_at = COALESCE(refused_at, $3)
WHERE message_pk = $1 AND seq = $2 AND report = 'waiting'
"""
PARK = """
UPDATE events SET report = 'parked' WHERE message_pk = $1 AND seq = $2 AND report = 'waiting'
"""
# An event is numbered by its time, in microseconds.
PARK_WAITING = """
UPDATE events SET report = 'parked' WHERE (message_pk, seq) IN (
    SELECT message_pk, seq FROM events WHERE tenant_id = $1 AND report = 'waiting' AND seq <= $2
    ORDER BY seq LIMIT $3)
RETURNING seq
"""
PARK_HELD = """
UPDATE events SET report = 'parked' WHERE (message_pk, seq) IN (
    SELECT message_pk, seq FROM events WHERE tenant_id = $1 AND report = 'held' AND seq <= $2
    ORDER BY seq LIMIT $3)
RETURNING seq
"""
# A beat at 0 was asked for while the call was under way: it stands.
CONCLUDE = """
UPDATE reporters SET owner = NULL,
    beat_at = CASE WHEN beat_at = 0 THEN 0 ELSE CAST($2 AS DOUBLE PRECISION) END,
    hold_until = CASE WHEN beat_at = 0 THEN 0 ELSE CAST($3 AS DOUBLE PRECISION) END,
    quiet_until = $4, failures = $5, failing_since = $6,
    last_sync_at = COALESCE($7, last_sync_at)
WHERE tenant_id = $1
"""
STANDINGS = "SELECT tenant_id, beat_at, quiet_until, last_sync_at FROM reporters"


@dataclass(frozen=True, slots=True)
class DueTenant:
    tenant_id: str
    failures: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to call one tenant, and the first events to tell it of.

    `most` is how many events go into one call.
    """

    tenant_id: str
    epoch: int
    most: int
    failures: int
    failing_since: float | None
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the events of one call: taken, refused for now, refused for too long."""

    at: float
    done: tuple[Place, ...] = ()
    held: tuple[Place, ...] = ()
    parked: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a turn ends: when the tenant is called again, and how it stands with it.

    `synced_at` is None when it did not take the call.
    """

    beat_at: float
    hold_until: float = 0.0
    quiet_until: float = 0.0
    failures: int = 0
    failing_since: float | None = None
    synced_at: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with a tenant that is called (Unix seconds)."""

    beat_at: float
    quiet_until: float
    last_sync_at: float | None


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, epoch: int, now: float, most: int) -> list[DueTenant]:
        """Return tenants to call now which no living node calls, those that answer first."""
        waiting = [row["tenant_id"] for row in await self._database.fetch(WAITING)]
        rows = await self._database.fetch(DUE, now, epoch, waiting, most)
        return [DueTenant(row["tenant_id"], row["failures"]) for row in rows]

    async def make_due(self, tenant_id: str | None) -> None:
        """Have a tenant called at once, or all (None), whatever was to be waited for."""
        await self._database.write(partial(make_due, tenant_id))

    async def take(
        self, tenant_id: str, epoch: int, now: float, *, beat_at: float, most: int
    ) -> Turn | None:
        """Begin to call a tenant; None when it is not due, or another node calls it.

        `beat_at` is when it is called next, should this node end before it says so.
        """
        return await self._database.write(
            partial(take, tenant_id, epoch, now, beat_at=beat_at, most=most)
        )

    async def acknowledge(self, turn: Turn, receipt: Receipt) -> tuple[StoredEvent, ...]:
        """Write what became of a call, and return the next events. Raises Fenced."""
        return await self._database.write(partial(acknowledge, turn, receipt))

    async def give_up(self, turn: Turn, before: float) -> int:
        """Park what happened until `before`; return how many events that were. Raises Fenced."""
        parked = 0
        while portion := await self._database.write(partial(park_old, turn, before)):
            parked += portion
        return parked

    async def conclude(self, turn: Turn, receipt: Receipt, conclusion: Conclusion) -> None:
        """End a turn. Raises Fenced."""
        await self._database.write(partial(conclude, turn, receipt, conclusion))

    async def standings(self) -> dict[str, Standing]:
        rows = await self._database.fetch(STANDINGS)
        return {
            row["tenant_id"]: Standing(row["beat_at"], row["quiet_until"], row["last_sync_at"])
            for row in rows
        }


def enrol(tenant_id: str, is_called: bool) -> Script[None]:
    """Have a tenant called from now on, or no longer. A change may have mended what was wrong, so
    it is called at once.
    """
    yield Query(ENROL if is_called else DISMISS, (tenant_id,))


def make_due(tenant_id: str | None) -> Script[None]:
    yield Query(MAKE_ALL_DUE) if tenant_id is None else Query(MAKE_DUE, (tenant_id,))


def take(
    tenant_id: str, epoch: int, now: float, *, beat_at: float, most: int
) -> Script[Turn | None]:
    yield from must_live(epoch)
    rows = yield Query(LOCK, (tenant_id,))
    if not rows:
        return None
    row = rows[0]
    is_beat = row["beat_at"] <= now
    if not is_beat and row["hold_until"] > now:
        return None
    if row["owner"] not in (None, epoch) and (yield Query(NODE_LIVES, (row["owner"],))):
        return None
    if is_beat:
        yield Query(UNHOLD, (tenant_id, PORTION))
    # After failures less is offered at once: the client may not manage as much, or not in time.
    most = max(1, most >> row["failures"])
    events = yield from next_events(tenant_id, most)
    if not events and not is_beat:
        return None
    yield Query(OWN, (tenant_id, epoch, beat_at))
    return Turn(tenant_id, epoch, most, row["failures"], row["failing_since"], events)


def next_events(tenant_id: str, most: int) -> Script[tuple[StoredEvent, ...]]:
    while (yield Query(HOLD_FOLLOWERS, (tenant_id, most))):
        pass
    rows = yield Query(BATCH, (tenant_id, most))
    return tuple(stored_event(row) for row in rows)


def acknowledge(turn: Turn, receipt: Receipt) -> Script[tuple[StoredEvent, ...]]:
    yield from must_own(turn)
    yield from write_receipt(receipt)
    return (yield from next_events(turn.tenant_id, turn.most))


def park_old(turn: Turn, before: float) -> Script[int]:
    """Park one portion of what happened until `before`; return how many events."""
    yield from must_own(turn)
    values = turn.tenant_id, int(before * 1e6), PORTION
    waiting = yield Query(PARK_WAITING, values)
    held = yield Query(PARK_HELD, values)
    return len(waiting) + len(held)


def conclude(turn: Turn, receipt: Receipt, conclusion: Conclusion) -> Script[None]:
    yield from must_own(turn)
    yield from write_receipt(receipt)
    values = (
        turn.tenant_id,
        conclusion.beat_at,
        conclusion.hold_until,
        conclusion.quiet_until,
        conclusion.failures,
        conclusion.failing_since,
        conclusion.synced_at,
    )
    yield Query(CONCLUDE, values)


def must_own(turn: Turn) -> Script[None]:
    yield from must_live(turn.epoch)
    rows = yield Query(OWNER, (turn.tenant_id,))
    if not rows or rows[0]["owner"] != turn.epoch:
        raise Fenced(f"the reports of {turn.tenant_id} are no longer this node's")


def write_receipt(receipt: Receipt) -> Script[None]:
    if receipt.done:
        yield Each(DONE, rows_of(receipt.done, receipt.at))
    if receipt.held:
        yield Each(HOLD, rows_of(receipt.held, receipt.at))
    if receipt.parked:
        yield Each(PARK, list(receipt.parked))


def rows_of(places: Sequence[Place], at: float) -> list[tuple[str, int, float]]:
    return [(message_pk, seq, at) for message_pk, seq in places]
