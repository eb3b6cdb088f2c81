"""What may be ordered of mail that is stored: try it again, cancel, hold, release, delete it.

A message of which an upstream is being offered anything is passed over as a whole; what a node has
leased but not begun is taken from it. Which recipients an order changes, or why none, is decided
by pure functions; the rows are locked meanwhile.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from relay.formats.address import folded
from relay.model import FINAL_STATES, State
from relay.store.contents import DROP_ORPHANED_PARTS, DROP_PARTS
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.accept import (
    DROP_ATTACHMENTS,
    DROP_CONTENT,
    DROP_MESSAGE,
    DROP_RECIPIENTS,
)
from relay.store.queue.gates import Gate, read_gates
from relay.store.queue.settle import DROP_CONTENT as DROP_FINAL_CONTENT
from relay.store.queue.settle import FINISH, INSERT_EVENT
from relay.store.queue.suppressed import among
from relay.store.queue.suspend import HOLD, LET_GO

RECIPIENTS = """
SELECT message_pk, n, address, state, attempts, lane, account_id, begun_at FROM recipients
WHERE message_pk {among:$1} ORDER BY message_pk, n {for_update}
"""
MESSAGES = """
SELECT m.pk, m.id, m.batch_code, m.held_at,
    EXISTS (SELECT 1 FROM contents c WHERE c.message_pk = m.pk) AS has_content
FROM messages m WHERE m.tenant_id = $1 AND m.pk {among:$2} ORDER BY m.pk
"""
WISHES = "SELECT client_base_url, keep_content_days FROM tenants WHERE id = $1"
CANCEL = """
UPDATE recipients SET state = 'cancelled', final_at = $3, owner = NULL, claim = NULL
WHERE message_pk = $1 AND n = $2
"""
RETRY = """
UPDATE recipients SET due_at = $3, final_at = NULL,
    attempts = CASE WHEN state = 'failed' THEN 0 ELSE attempts END, faults = 0, state = 'queued'
WHERE message_pk = $1 AND n = $2
"""
REOPEN = """
UPDATE messages SET open_recipients = open_recipients + $2, final_at = NULL, updated_at = $3
WHERE pk = $1
"""
SET_HELD = "UPDATE messages SET held_at = $2, updated_at = $3 WHERE pk = $1"
DROP_ATTEMPTS = "DELETE FROM attempts WHERE message_pk = $1"
DROP_EVENTS = "DELETE FROM events WHERE message_pk = $1 AND report IN ('none', 'done')"
BELONGINGS = (
    DROP_EVENTS,
    DROP_ATTEMPTS,
    DROP_ATTACHMENTS,
    DROP_CONTENT,
    DROP_PARTS,
    DROP_RECIPIENTS,
)
# Its name is kept for the events that are still to be reported.
REMEMBER = """
INSERT INTO deleted_messages (pk, tenant_id, id, deleted_at)
SELECT m.pk, m.tenant_id, m.id, $2 FROM messages m
WHERE m.pk = $1 AND EXISTS (SELECT 1 FROM events e WHERE e.message_pk = m.pk)
ON CONFLICT (pk) DO NOTHING
"""

BEING_SENT = "being sent"
FINAL = "already final"
OPEN = frozenset(State) - FINAL_STATES


class Order(StrEnum):
    RETRY = "retry"
    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Place:
    """One recipient; `is_begun` says that an upstream may have it, `is_suppressed` that its tenant
    does not write to it.
    """

    n: int
    address: str
    state: State
    attempts: int
    lane: str
    is_begun: bool
    account_id: str | None
    is_suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """A message that an order is about; `is_gated` says that its tenant or batch is suspended."""

    pk: str
    id: str
    held_at: float | None
    has_content: bool
    is_gated: bool
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an order did to a message; `skipped` says why it did nothing."""

    pk: str
    id: str
    skipped: str | None = None


def obstacle(order: Order, subject: Subject) -> str | None:
    """Say why an order passes a message over, None when it does not."""
    if any(place.is_begun for place in subject.places):
        return BEING_SENT
    return OBSTACLES[order](subject)


def of_retry(subject: Subject) -> str | None:
    if any(place.state is State.SUSPENDED for place in subject.places):
        return "suspended"
    if not retried(subject):
        return "nothing to try again"
    return None if subject.has_content else "its content was dropped"


def of_cancel(subject: Subject) -> str | None:
    return None if opened(subject) else FINAL


def of_hold(subject: Subject) -> str | None:
    if not opened(subject):
        return FINAL
    return None if subject.held_at is None else "already held"


def of_release(subject: Subject) -> str | None:
    if not any(place.state is State.SUSPENDED for place in subject.places):
        return "not held"
    return "its batch is suspended" if subject.is_gated else None


def of_delete(_subject: Subject) -> str | None:
    return None


OBSTACLES: dict[Order, Callable[[Subject], str | None]] = {
    Order.RETRY: of_retry,
    Order.CANCEL: of_cancel,
    Order.HOLD: of_hold,
    Order.RELEASE: of_release,
    Order.DELETE: of_delete,
}


def opened(subject: Subject) -> list[Place]:
    return [place for place in subject.places if place.state in OPEN]


def retried(subject: Subject) -> list[Place]:
    """Return whom a retry is for: those who were tried. Scheduled mail keeps its time."""
    return [
        place
        for place in subject.places
        if (place.state is State.FAILED and not place.is_suppressed)
        or (place.state is State.DEFERRED and place.attempts)
    ]


@dataclass(frozen=True, slots=True)
class Call:
    """An order for messages of one tenant. `first_seq` is where the events of each are numbered
    from.
    """

    order: Order
    tenant_id: str
    pks: Sequence[str]
    first_seq: int
    now: float
    is_dry: bool = False


Obeyed = tuple[list[Verdict], frozenset[str]]


def obey(call: Call) -> Script[Obeyed]:
    """Carry out an order; return what became of each message that exists, and the lanes that have
    work.
    """
    subjects = yield from read_subjects(call.tenant_id, call.pks, call.now)
    verdicts = [Verdict(s.pk, s.id, obstacle(call.order, s)) for s in subjects]
    able = [s for s, v in zip(subjects, verdicts, strict=True) if v.skipped is None]
    if able and not call.is_dry:
        yield from WRITES[call.order](able, call)
    moves = call.order in (Order.RETRY, Order.RELEASE) and not call.is_dry
    lanes = frozenset(place.lane for s in able for place in s.places) if moves else frozenset()
    return verdicts, lanes


def read_subjects(tenant_id: str, pks: Sequence[str], now: float) -> Script[list[Subject]]:
    gate = (yield from read_gates({tenant_id})).get(tenant_id)
    rows: Sequence[Row] = yield Query(RECIPIENTS, (list(pks),))
    messages: Sequence[Row] = yield Query(MESSAGES, (tenant_id, list(pks)))
    suppressed: frozenset[str] = frozenset()
    if gate is not None and gate.suppresses:
        suppressed = yield from among(tenant_id, {row["address"] for row in rows}, now)
    places = {
        pk: tuple(place_of(row, suppressed) for row in group)
        for pk, group in groupby(rows, key=lambda row: str(row["message_pk"]))
    }
    return [subject_of(row, places.get(row["pk"], ()), gate) for row in messages]


def place_of(row: Row, suppressed: Collection[str]) -> Place:
    return Place(
        row["n"],
        row["address"],
        State(row["state"]),
        row["attempts"],
        row["lane"],
        row["begun_at"] is not None,
        row["account_id"],
        folded(row["address"]) in suppressed,
    )


def subject_of(row: Row, places: tuple[Place, ...], gate: Gate | None) -> Subject:
    is_gated = gate is not None and gate.holds(row["batch_code"])
    return Subject(row["pk"], row["id"], row["held_at"], bool(row["has_content"]), is_gated, places)


def retry(subjects: Sequence[Subject], call: Call) -> Script[None]:
    now = call.now
    yield Each(RETRY, [(s.pk, place.n, now) for s in subjects for place in retried(s)])
    ended = [(s.pk, sum(p.state is State.FAILED for p in retried(s)), now) for s in subjects]
    yield Each(REOPEN, ended)


def cancel(subjects: Sequence[Subject], call: Call) -> Script[None]:
    """End what is open; its end is an event, and reported like any other."""
    wishes = (yield Query(WISHES, (call.tenant_id,)))[0]
    report = "none" if wishes["client_base_url"] is None else "waiting"
    yield Each(CANCEL, [(s.pk, place.n, call.now) for s in subjects for place in opened(s)])
    events = [
        cancelled_row(s.pk, place, call, seq, report)
        for s in subjects
        for seq, place in enumerate(opened(s), call.first_seq)
    ]
    yield Each(INSERT_EVENT, events)
    yield Each(FINISH, [(s.pk, len(opened(s)), call.now) for s in subjects])
    if not wishes["keep_content_days"]:
        for sql in (DROP_FINAL_CONTENT, DROP_ORPHANED_PARTS):
            yield Each(sql, [(s.pk,) for s in subjects])


def cancelled_row(pk: str, place: Place, call: Call, seq: int, report: str) -> tuple[Value, ...]:
    data = {
        "recipient": place.address,
        "account_id": place.account_id,
        "code": 0,
        "reply": "cancelled",
        "attempts": place.attempts,
    }
    kind = State.CANCELLED.value
    return pk, seq, call.tenant_id, place.n, kind, call.now, json.dumps(data), report


def hold(subjects: Sequence[Subject], call: Call) -> Script[None]:
    yield Query(HOLD, ([s.pk for s in subjects],))
    yield Each(SET_HELD, [(s.pk, call.now, call.now) for s in subjects])


def release(subjects: Sequence[Subject], call: Call) -> Script[None]:
    yield Query(LET_GO, ([s.pk for s in subjects], call.now))
    yield Each(SET_HELD, [(s.pk, None, call.now) for s in subjects])


def delete(subjects: Sequence[Subject], call: Call) -> Script[None]:
    yield from drop([s.pk for s in subjects], call.now)


def drop(pks: Sequence[str], now: float) -> Script[None]:
    """Take messages out with all that belongs to them, but events that wait to be reported."""
    keys = [(pk,) for pk in pks]
    for sql in BELONGINGS:
        yield Each(sql, keys)
    yield Each(REMEMBER, [(pk, now) for pk in pks])
    yield Each(DROP_MESSAGE, keys)


WRITES: dict[Order, Callable[[Sequence[Subject], Call], Script[None]]] = {
    Order.RETRY: retry,
    Order.CANCEL: cancel,
    Order.HOLD: hold,
    Order.RELEASE: release,
    Order.DELETE: delete,
}
