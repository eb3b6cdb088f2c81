"""The living processes and their leases.

A node's lease covers all that it has claimed, so keeping it alive costs one row however much it
sends. Its epoch is the fence: a number from a counter, never used twice. A node that starts buries
its own earlier lives at once; any node buries one whose lease ran out. What a dead node had not
begun is due again; what it had begun may have been sent, and goes to the node that buried it, to be
settled as unknown. What a node had when it died may have been the cause (see `queue.aside`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import Fenced
from relay.model import Delivery
from relay.store.database import Query, Row, Script
from relay.store.queue.aside import Desk, suspect
from relay.store.queue.claim import CLAIMED, deliveries
from relay.store.queue.fence import must_live

NEXT_EPOCH = "UPDATE counters SET value = value + 1 WHERE name = 'epoch' RETURNING value"
REGISTER = "INSERT INTO nodes (epoch, node_id, started_at, lease_until) VALUES ($1, $2, $3, $4)"
RENEW = "UPDATE nodes SET lease_until = $2 WHERE epoch = $1 RETURNING epoch"
DEAD = """
SELECT epoch FROM nodes WHERE epoch <> $1 AND (node_id = $2 OR lease_until < $3) {skip_locked}
"""
BURY = "DELETE FROM nodes WHERE epoch = $1"
REQUEUE = """
UPDATE recipients SET state = 'queued', owner = NULL, claim = NULL
WHERE state = 'sending' AND owner = $1 AND begun_at IS NULL RETURNING lane
"""
INHERIT = """
UPDATE recipients SET owner = $2, claim = $3
WHERE state = 'sending' AND owner = $1 AND begun_at IS NOT NULL RETURNING message_pk
"""
LEAVE = """
DELETE FROM nodes WHERE epoch = $1
    AND NOT EXISTS (SELECT 1 FROM recipients WHERE state = 'sending' AND owner = $1)
"""
END_LEASE = "UPDATE nodes SET lease_until = 0 WHERE epoch = $1"


@dataclass(frozen=True, slots=True)
class Estate:
    """What dead nodes left: lanes that have work again, and deliveries that may have been sent."""

    epochs: int
    lanes: tuple[str, ...]
    in_doubt: tuple[Delivery, ...]


def register(node_id: str, now: float, lease_s: float) -> Script[int]:
    """Begin a life; return its epoch."""
    rows = yield Query(NEXT_EPOCH)
    epoch: int = rows[0]["value"]
    yield Query(REGISTER, (epoch, node_id, now, now + lease_s))
    return epoch


def renew(epoch: int, lease_until: float) -> Script[None]:
    """Raise Fenced when another node has buried this one."""
    if not (yield Query(RENEW, (epoch, lease_until))):
        raise Fenced(f"the lease of epoch {epoch} ran out")


def bury_dead(desk: Desk, node_id: str, claim: int, before: float) -> Script[Estate]:
    """Take over what nodes held whose lease ended before then, and what this one's earlier lives
    held; `claim` marks what came to this node by it.
    """
    epoch = desk.epoch
    yield from must_live(epoch)
    rows: Sequence[Row] = yield Query(DEAD, (epoch, node_id, before))
    lanes: list[str] = []
    in_doubt = 0
    for row in rows:
        yield Query(BURY, (row["epoch"],))
        yield from suspect(row["epoch"], desk.policy, desk.now)
        lanes += [r["lane"] for r in (yield Query(REQUEUE, (row["epoch"],)))]
        in_doubt += len((yield Query(INHERIT, (row["epoch"], epoch, claim))))
    if not in_doubt:
        return Estate(len(rows), tuple(lanes), ())
    inherited = yield from deliveries((yield Query(CLAIMED, (epoch, claim))), desk)
    return Estate(len(rows), tuple(lanes), tuple(inherited))


def leave(epoch: int) -> Script[list[str]]:
    """End a life in order: what is leased and not begun is due again; what is begun waits to be
    buried.
    """
    rows = yield Query(REQUEUE, (epoch,))
    yield Query(LEAVE, (epoch,))
    yield Query(END_LEASE, (epoch,))
    return [row["lane"] for row in rows]
