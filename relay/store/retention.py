"""What is over is forgotten: messages with all that belongs to them, content, keys, counts.

Promises: a message goes only when it is final, its end is reported (or nobody is called), no
acceptance of certified mail is awaited, and it is older than the rule says; mail that is not sent
yet never goes. Work comes in portions, each a
transaction of its own, found by walking a tenant's messages from the oldest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay.model import new_pk
from relay.store.contents import DROP_PARTS
from relay.store.database import Database, Each, Query, Row, Script
from relay.store.queue.accept import (
    DROP_ATTACHMENTS,
    DROP_CONTENT,
    DROP_MESSAGE,
    DROP_RECIPIENTS,
)
from relay.store.queue.orders import DROP_ATTEMPTS

PORTION = 500
DAY_S = 86_400.0

# What still stands between a message and its end: not reported, refused for now, given up.
UNREPORTED = ("waiting", "held", "parked")
UNDECIDED = ("waiting", "held")

PAGE = """
SELECT pk, final_at FROM messages WHERE tenant_id = $1 AND pk > $2 AND pk < $3
ORDER BY pk LIMIT $4
"""
LOCK = "SELECT n FROM recipients WHERE message_pk {among:$1} ORDER BY message_pk, n {for_update}"
OVER = """
SELECT m.pk FROM messages m WHERE m.pk {among:$1} AND m.final_at <= $2
    AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message_pk = m.pk AND e.report {among:$3})
    AND NOT EXISTS (SELECT 1 FROM pec_waits w WHERE w.message_pk = m.pk)
"""
KEPT_CONTENT = """
SELECT m.pk FROM messages m JOIN contents c ON c.message_pk = m.pk
WHERE m.pk {among:$1} AND m.final_at <= $2
"""
DROP_EVENTS = "DELETE FROM events WHERE message_pk = $1"
DROP_ALL = (
    DROP_EVENTS,
    DROP_ATTEMPTS,
    DROP_ATTACHMENTS,
    DROP_CONTENT,
    DROP_PARTS,
    DROP_RECIPIENTS,
    DROP_MESSAGE,
)
DELETED = """
SELECT d.pk FROM deleted_messages d WHERE d.tenant_id = $1 AND d.deleted_at <= $2
    AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message_pk = d.pk AND e.report {among:$3})
LIMIT $4
"""
FORGET_DELETED = "DELETE FROM deleted_messages WHERE pk = $1"
# They belong to no message; an event is numbered by its time, in microseconds.
REJECTIONS = """
SELECT message_pk FROM events WHERE tenant_id = $1 AND kind = 'rejected' AND seq <= $2
    AND NOT report {among:$3} LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """What of a tenant may go (Unix seconds). `content_before` is None where content goes with its
    message only; `unreported` names the states of an event that keep its message.
    """

    tenant_id: str
    ended_before: float
    content_before: float | None = None
    unreported: tuple[str, ...] = UNDECIDED

    @property
    def accepted_before(self) -> float:
        """Nothing that was accepted later can have ended before."""
        return max(self.ended_before, self.content_before or 0.0)


@dataclass(frozen=True, slots=True)
class Walk:
    """`after` is where the next portion begins, None when there is none."""

    removed: int
    after: str | None


class RetentionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, rule: Rule) -> int:
        """Forget what the rule lets go; return how many messages went."""
        removed, after = 0, ""
        while True:
            walk = await self._database.write(partial(forget_messages, rule, after))
            removed += walk.removed
            if walk.after is None:
                break
            after = walk.after
        while await self._database.write(partial(forget_deleted, rule)) == PORTION:
            pass
        while await self._database.write(partial(forget_rejections, rule)) == PORTION:
            pass
        return removed


def forget_messages(rule: Rule, after: str) -> Script[Walk]:
    """Look at the next portion of a tenant's messages and take out what may go."""
    before = new_pk(rule.accepted_before)
    rows: Sequence[Row] = yield Query(PAGE, (rule.tenant_id, after, before, PORTION))
    following = rows[-1]["pk"] if len(rows) == PORTION else None
    ended = [row["pk"] for row in rows if row["final_at"] is not None]
    if not ended:
        return Walk(0, following)
    # Failed mail may be tried again in this moment: then its recipients are locked.
    yield Query(LOCK, (ended,))
    over = yield Query(OVER, (ended, rule.ended_before, list(rule.unreported)))
    keys = [(row["pk"],) for row in over]
    for sql in DROP_ALL:
        yield Each(sql, keys)
    if rule.content_before is not None:
        kept = yield Query(KEPT_CONTENT, (ended, rule.content_before))
        for sql in (DROP_CONTENT, DROP_PARTS):
            yield Each(sql, [(row["pk"],) for row in kept])
    return Walk(len(keys), following)


def forget_deleted(rule: Rule) -> Script[int]:
    """Forget the names of messages that were deleted, and their events."""
    values = (rule.tenant_id, rule.ended_before, list(rule.unreported), PORTION)
    keys = [(row["pk"],) for row in (yield Query(DELETED, values))]
    yield Each(DROP_EVENTS, keys)
    yield Each(FORGET_DELETED, keys)
    return len(keys)


def forget_rejections(rule: Rule) -> Script[int]:
    before = int(rule.ended_before * 1e6)
    values = (rule.tenant_id, before, list(rule.unreported), PORTION)
    keys = [(row["message_pk"],) for row in (yield Query(REJECTIONS, values))]
    yield Each(DROP_EVENTS, keys)
    return len(keys)
