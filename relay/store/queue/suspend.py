"""A tenant holds its mail back, all of it or a batch, and lets it go again.

The gate is the tenant's own row. Closing it and taking out the first portion of the mail is one
transaction; the rest follows in portions, so that no transaction grows with the batch. Behind a
closed gate no mail is accepted as due, and none that comes back from an attempt is: what the
portions have passed stays passed. Mail that a node has leased but not begun is taken from it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import Refused
from relay.store.database import Database, Query, Row, Script
from relay.store.queue.gates import ALL, Gate, read_gates

PORTION = 500

LOCK = "SELECT suspended_batches FROM tenants WHERE id = $1 {for_update}"
SET = "UPDATE tenants SET suspended_batches = $2, updated_at = $3 WHERE id = $1"
OPEN = """
SELECT pk, batch_code, held_at FROM messages
WHERE tenant_id = $1 AND pk > $2 AND final_at IS NULL ORDER BY pk LIMIT $3
"""
HOLD = """
UPDATE recipients SET state = 'suspended', owner = NULL, claim = NULL
WHERE message_pk {among:$1}
    AND (state IN ('queued', 'deferred') OR (state = 'sending' AND begun_at IS NULL))
"""
# Each goes on at its own time.
LET_GO = """
UPDATE recipients SET state = CASE WHEN due_at <= $2 THEN 'queued' ELSE 'deferred' END
WHERE message_pk {among:$1} AND state = 'suspended'
RETURNING lane
"""
COUNT = """
SELECT COUNT(*) AS mails FROM messages
WHERE tenant_id = $1 AND final_at IS NULL AND (CAST($2 AS TEXT) IS NULL OR batch_code = $2)
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A portion was done. `after` is where the next begins, None when there is none; the lanes have
    work.
    """

    suspended: tuple[str, ...]
    after: str | None
    lanes: frozenset[str] = frozenset()


def close_gate(tenant_id: str, batch_code: str | None, now: float) -> Script[Step | None]:
    """Suspend a batch, or all with None, and the first portion of its mail; None when there is no
    such tenant.
    """
    stored = yield from locked(tenant_id)
    if stored is None:
        return None
    if batch_code is None:
        stored = (ALL,)
    elif ALL not in stored and batch_code not in stored:
        stored = (*stored, batch_code)
    yield Query(SET, (tenant_id, json.dumps(stored), now))
    return (yield from hold_more(tenant_id, batch_code, ""))


def open_gate(tenant_id: str, batch_code: str | None, now: float) -> Script[Step | None]:
    """Let a batch go, or all with None, and the first portion of its mail. Raises Refused for one
    batch while all are suspended.
    """
    stored = yield from locked(tenant_id)
    if stored is None:
        return None
    if batch_code is not None and ALL in stored:
        raise Refused("all batches are suspended: activate all of them first")
    left = () if batch_code is None else tuple(code for code in stored if code != batch_code)
    yield Query(SET, (tenant_id, json.dumps(left), now))
    return (yield from let_go_more(tenant_id, batch_code, "", now))


def locked(tenant_id: str) -> Script[tuple[str, ...] | None]:
    rows = yield Query(LOCK, (tenant_id,))
    return tuple(json.loads(rows[0]["suspended_batches"])) if rows else None


def hold_more(tenant_id: str, batch_code: str | None, after: str) -> Script[Step]:
    """Suspend the next portion; it ends when somebody has opened the gate again."""
    gate = (yield from read_gates({tenant_id})).get(tenant_id)
    if gate is None or not gate.holds(batch_code or ALL):
        return Step((), None)
    rows = yield Query(OPEN, (tenant_id, after, PORTION))
    pks = [row["pk"] for row in rows if gate.holds(row["batch_code"])]
    if pks:
        yield Query(HOLD, (pks,))
    return Step(tuple(sorted(gate.suspended)), following(rows))


def let_go_more(tenant_id: str, batch_code: str | None, after: str, now: float) -> Script[Step]:
    """Let the next portion go, but what is held by hand or by the gate as it is now."""
    gate = (yield from read_gates({tenant_id})).get(tenant_id, Gate(False, frozenset()))
    rows = yield Query(OPEN, (tenant_id, after, PORTION))
    pks = [
        row["pk"]
        for row in rows
        if row["held_at"] is None
        and batch_code in (None, row["batch_code"])
        and not gate.holds(row["batch_code"])
    ]
    moved: Sequence[Row] = (yield Query(LET_GO, (pks, now))) if pks else ()
    lanes = frozenset(row["lane"] for row in moved)
    return Step(tuple(sorted(gate.suspended)), following(rows), lanes)


def following(rows: Sequence[Row]) -> str | None:
    return rows[-1]["pk"] if len(rows) == PORTION else None


async def count_open(database: Database, tenant_id: str, batch_code: str | None) -> int:
    """Count the messages that are not final."""
    rows = await database.fetch(COUNT, tenant_id, batch_code)
    return int(rows[0]["mails"])
