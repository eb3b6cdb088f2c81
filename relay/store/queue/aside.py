"""Mail that this relay fails at by itself: counted, put off, put aside.

Promises: a mail whose row cannot be read, or at which our own code failed, or with which a node
died, waits longer after each such fault, and after `most` of them in a row it has failed, with the
reason and an event; it stands in nobody's way meanwhile. The count is in the store, so it outlives
the process. A fault that leaves no trace but a death is suspected of all mail that the node had, up
to `SUSPECT`; from there on a mail is charged before it is taken in hand, one at a time (see
`dispatch.suspects`), so that many deaths of another cause put nothing aside.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from relay.errors import Damaged, NotFound
from relay.model import Delivery, State
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.settle import FINISH, INSERT_EVENT

# A mail that was leased at so many deaths in a row may be their cause.
SUSPECT = 2

LEASED = """
SELECT n, faults, address FROM recipients
WHERE message_pk = $1 AND owner = $2 AND state = 'sending' ORDER BY n
"""
TENANT = """
SELECT m.tenant_id, t.client_base_url FROM messages m JOIN tenants t ON t.id = m.tenant_id
WHERE m.pk = $1
"""
PUT = """
UPDATE recipients SET state = $4, due_at = $5, faults = $6, code = 0, reply = $7, tried_at = $8,
    final_at = $9, owner = NULL, claim = NULL, begun_at = NULL
WHERE message_pk = $1 AND n = $2 AND owner = $3 AND state = 'sending'
"""
CHARGE = """
UPDATE recipients SET faults = $4
WHERE message_pk = $1 AND n = $2 AND owner = $3 AND state = 'sending'
"""
SUSPECTED = """
UPDATE recipients SET faults = faults + 1 WHERE state = 'sending' AND owner = $1 AND faults < $2
"""
PUT_OFF = """
UPDATE recipients SET state = 'deferred', due_at = $3, owner = NULL, claim = NULL
WHERE state = 'sending' AND owner = $1 AND faults = $2 AND begun_at IS NULL
"""

Tell = Callable[[str, str, Exception], None]


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """`most` faults in a row put a mail aside; it waits after each, the last wait again and
    again.
    """

    waits_s: tuple[float, ...] = (60.0,)
    most: int = 5

    def wait_s(self, faults: int) -> float:
        return self.waits_s[min(max(faults, 1), len(self.waits_s)) - 1]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where what cannot be read is dealt with. `tell` hears of each: pk, lane and what was wrong;
    it is called in whatever thread the script runs in, and again when the script runs again.
    """

    epoch: int
    now: float
    policy: FaultPolicy
    next_seq: Callable[[int], int]
    tell: Tell


def readable(
    rows: Sequence[Row], read: Callable[[Sequence[Row]], Delivery], desk: Desk
) -> Script[list[Delivery]]:
    """Read the rows of each leased message (they stand together); what cannot be read is put off or
    aside.
    """
    read_well: list[Delivery] = []
    for group in by_message(rows):
        try:
            read_well.append(read(group))
        except (Damaged, ValueError, OverflowError) as error:
            desk.tell(group[0]["message_pk"], group[0]["lane"], error)
            yield from put_aside(group[0]["message_pk"], f"it cannot be read: {error}", desk)
    return read_well


def by_message(rows: Sequence[Row]) -> list[list[Row]]:
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0]["message_pk"] == row["message_pk"]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def put_aside(pk: str, reason: str, desk: Desk) -> Script[None]:
    """Count a fault of a leased mail whatever else is wrong with it, and have it wait, or end."""
    rows = yield Query(LEASED, (pk, desk.epoch))
    tenants = yield Query(TENANT, (pk,))
    if not tenants:
        raise NotFound(f"{pk} belongs to nobody")
    ended = [row for row in rows if row["faults"] + 1 >= desk.policy.most]
    yield Each(PUT, [put_row(row, pk, reason, desk) for row in rows])
    seqs = count(desk.next_seq(len(rows)))
    yield Each(INSERT_EVENT, [event_row(row, pk, reason, tenants[0], desk, seqs) for row in rows])
    if ended:
        yield Query(FINISH, (pk, len(ended), desk.now))


def put_row(row: Row, pk: str, reason: str, desk: Desk) -> tuple[Value, ...]:
    state, faults, due_at = fate_of(row, desk)
    final_at = desk.now if state is State.FAILED else None
    return pk, row["n"], desk.epoch, state.value, due_at, faults, reason, desk.now, final_at


def fate_of(row: Row, desk: Desk) -> tuple[State, int, float]:
    faults = row["faults"] + 1
    if faults >= desk.policy.most:
        return State.FAILED, faults, desk.now
    return State.DEFERRED, faults, desk.now + desk.policy.wait_s(faults)


def event_row(
    row: Row, pk: str, reason: str, tenant: Row, desk: Desk, seqs: Iterator[int]
) -> tuple[Value, ...]:
    state, faults, due_at = fate_of(row, desk)
    data: dict[str, object] = {
        "recipient": row["address"],
        "account_id": None,
        "code": 0,
        "reply": reason,
        "attempts": faults,
    }
    if state is State.DEFERRED:
        data["next_attempt_ts"] = due_at
    report = "none" if tenant["client_base_url"] is None else "waiting"
    tenant_id = tenant["tenant_id"]
    return pk, next(seqs), tenant_id, row["n"], state.value, desk.now, json.dumps(data), report


def charge(delivery: Delivery) -> Script[None]:
    """Count a fault before a suspect is taken in hand: should it be the last thing we do, it is
    known. Its end, or giving it back, takes that back.
    """
    rows = [(delivery.pk, p.n, delivery.epoch, p.faults + 1) for p in delivery.pending]
    yield Each(CHARGE, rows)


def suspect(epoch: int, policy: FaultPolicy, now: float) -> Script[None]:
    """Count the death of a node against what it had, and put off what may be its cause."""
    yield Query(SUSPECTED, (epoch, SUSPECT))
    levels: Collection[int] = range(SUSPECT, policy.most + 1)
    yield Each(PUT_OFF, [(epoch, level, now + policy.wait_s(level)) for level in levels])
