"""Mail that its client wanted to be told of if it is late (RFC 2852, by-mode N).

Promises: each recipient that still waits at that time gets one event, reported like any other, and
goes on waiting; two nodes that look at the same time tell of it once.
"""

import json
from collections.abc import Callable

from relay.model import State
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.settle import INSERT_EVENT
from relay.store.spool import Spool

LOOK_EVERY_S = 5.0
AT_ONCE = 100
REPLY = "not delivered within the time that was asked for"

LATE = """
SELECT pk FROM messages WHERE late_at <= $1 AND late_at IS NOT NULL AND final_at IS NULL
ORDER BY late_at LIMIT $2 {skip_locked}
"""
WAITING = """
SELECT r.message_pk, r.n, r.address, r.account_id, r.attempts, r.due_at, r.code, m.tenant_id,
    t.client_base_url
FROM recipients r JOIN messages m ON m.pk = r.message_pk JOIN tenants t ON t.id = m.tenant_id
WHERE r.message_pk {among:$1} AND r.state IN ('queued', 'deferred', 'sending', 'suspended')
ORDER BY r.message_pk, r.n
"""
TOLD = "UPDATE messages SET late_at = NULL WHERE pk = $1"


async def tell_of_late(spool: Spool) -> None:
    """Write down which mail has become late, in portions, so that other writes have a turn."""
    while await spool.database.write(lambda: tell(spool.now(), spool.next_seq)) == AT_ONCE:
        pass


def tell(now: float, next_seq: Callable[[int], int]) -> Script[int]:
    rows = yield Query(LATE, (now, AT_ONCE))
    pks = [row["pk"] for row in rows]
    if not pks:
        return 0
    waiting = yield Query(WAITING, (pks,))
    if waiting:
        first = next_seq(len(waiting))
        yield Each(INSERT_EVENT, [event_row(r, first + n, now) for n, r in enumerate(waiting)])
    yield Each(TOLD, [(pk,) for pk in pks])
    return len(pks)


def event_row(row: Row, seq: int, now: float) -> tuple[Value, ...]:
    data = {
        "recipient": row["address"],
        "account_id": row["account_id"],
        "code": row["code"] or 0,
        "reply": REPLY,
        "attempts": row["attempts"],
        "next_attempt_ts": row["due_at"],
    }
    report = "none" if row["client_base_url"] is None else "waiting"
    pk, tenant_id, n = row["message_pk"], row["tenant_id"], row["n"]
    return pk, seq, tenant_id, n, State.DEFERRED.value, now, json.dumps(data), report
