"""A mail comes in: message, recipients, content and event in one transaction.

A client's own id is unique in its tenant. The same id again replaces the mail while nobody has
begun to send it, and is refused as `already sent` afterwards. A mail may be born leased to the node
that took it (`hand_over`), which then sends it without reading it back.

A mail of which no recipient may be written to is refused as `suppressed`; where that is true of
some, they fail with an event, their sender is notified as of any failure, and the others get it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.errors import OverQuota, Refused
from relay.model import NewMail, State
from relay.store import limits
from relay.store.contents import DROP_PARTS
from relay.store.database import Each, Query, Row, Script
from relay.store.queue.arrival import Accepted, Arrival, named
from relay.store.queue.gates import Gate, read_gates_for
from relay.store.queue.insert import insert
from relay.store.queue.settle import Notice, Notify, notify_nobody
from relay.store.queue.suppressed import (
    REASON,
    Barred,
    Suppressed,
    barred_of,
    end,
    read_suppressed,
)

REPLACEABLE = frozenset({State.QUEUED, State.DEFERRED, State.SUSPENDED})

KNOWN = """
SELECT id, pk, held_at, final_at FROM messages WHERE tenant_id = $1 AND id {among:$2} {for_update}
"""
STATES = """
SELECT message_pk, state, reply FROM recipients WHERE message_pk {among:$1} {for_update}
"""
DROP_RECIPIENTS = "DELETE FROM recipients WHERE message_pk = $1"
DROP_CONTENT = "DELETE FROM contents WHERE message_pk = $1"
DROP_ATTACHMENTS = "DELETE FROM attachments WHERE message_pk = $1"
DROP_MESSAGE = "DELETE FROM messages WHERE pk = $1"


@dataclass(frozen=True, slots=True)
class Earlier:
    """A mail that has the id already. One that is held by hand stays so when it is replaced."""

    pk: str
    is_replaceable: bool
    held_at: float | None


@dataclass(slots=True)
class Room:
    """How much mail a tenant may still give."""

    left: int
    wait_s: float
    taken: int = 0

    def take(self) -> None:
        """Raise OverQuota when there is none left."""
        if self.left <= self.taken:
            raise OverQuota(
                "this tenant has given as much mail as it may for now",
                wait_s=self.wait_s,
                enhanced="4.7.0",
            )
        self.taken += 1


Key = tuple[str, str]


@dataclass(slots=True)
class Desk:
    """What a transaction knows while it decides on its mails, one after another."""

    gates: Mapping[str, Gate]
    rooms: Mapping[str, Room]
    earlier: Mapping[Key, Earlier]
    suppressed: Suppressed
    owner: int | None
    now: float
    stored: dict[Key, tuple[Arrival, Accepted]] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)

    @property
    def barred(self) -> list[Barred]:
        """The recipients of what is stored that are not written to."""
        stored = self.stored.values()
        return [Barred(a.mail, answer.barred) for a, answer in stored if answer.barred]

    def judge(self, arrival: Arrival) -> Accepted | Refused:
        try:
            return self._store(arrival)
        except Refused as refused:
            return refused

    def _store(self, arrival: Arrival) -> Accepted:
        mail, key = arrival.mail, (arrival.mail.tenant_id, arrival.mail.id)
        gate, earlier = self.gates.get(mail.tenant_id), self.earlier.get(key)
        if gate is None or not gate.active:
            raise Refused("this tenant is not active", code=550, enhanced="5.7.1")
        again = self.stored.get(key)
        if (earlier and not earlier.is_replaceable) or (again and again[1].handed_over):
            raise Refused("already sent", reason="already sent")
        barred = barred_of(mail, self.suppressed)
        known = again[1].pk if again else earlier and earlier.pk
        if known is None and mail.tenant_id in self.rooms:
            self.rooms[mail.tenant_id].take()
        held_at = earlier.held_at if earlier else None
        state = State.SUSPENDED if held_at else first_state(arrival, gate, self.owner, self.now)
        if len(barred) == len(mail.envelope.recipients):
            state = State.FAILED
        lease = self.owner if state is State.SENDING else None
        answer = Accepted(known or mail.pk, known is not None, state, lease, held_at, barred)
        if answer.pk != mail.pk:
            arrival = replace(arrival, mail=named(mail, answer.pk))
        self.stored[key] = (arrival, answer)
        if earlier:
            self.replaced.append(earlier.pk)
        return answer


def told(
    answers: Sequence[Accepted | Refused], notices: Sequence[Notice]
) -> list[Accepted | Refused]:
    """Put each notice into the answer of the mail that it is about."""
    by_pk = {notice.about: notice for notice in notices}
    return [
        replace(answer, notice=by_pk.pop(answer.pk, None))
        if isinstance(answer, Accepted)
        else answer
        for answer in answers
    ]


def accept(
    arrivals: Sequence[Arrival], epoch: int, now: float, notify: Notify = notify_nobody
) -> Script[list[Accepted | Refused]]:
    """Store all that may be stored; one answer for each arrival, in order."""
    # Only while this node's lease stands may mail be born leased.
    gates, owner = yield from read_gates_for({a.mail.tenant_id for a in arrivals}, epoch)
    rooms = yield from read_rooms(gates, now)
    earlier = yield from read_earlier([a.mail for a in arrivals if a.mail.id_given])
    suppressed = yield from read_suppressed([a.mail for a in arrivals], gates, now)
    desk = Desk(gates, rooms, earlier, suppressed, owner, now)
    answers = [desk.judge(arrival) for arrival in arrivals]
    yield from remove(desk.replaced)
    yield from insert(list(desk.stored.values()))
    if desk.barred:
        answers = told(answers, (yield from end(desk.barred, gates, notify)))
    for tenant_id, room in rooms.items():
        if room.taken:
            yield from limits.count_given(tenant_id, room.taken, now)
    return answers


def read_rooms(gates: Mapping[str, Gate], now: float) -> Script[dict[str, Room]]:
    """Read what is left to the tenants that have a quota, in one order for the locks' sake."""
    rooms: dict[str, Room] = {}
    for tenant_id in sorted(gates):
        windows = gates[tenant_id].windows
        if windows:
            rooms[tenant_id] = Room(*(yield from limits.quota(tenant_id, windows, now)))
    return rooms


def first_state(arrival: Arrival, gate: Gate, owner: int | None, now: float) -> State:
    if gate.holds(arrival.mail.batch_code):
        return State.SUSPENDED
    if arrival.mail.due_at is not None and arrival.mail.due_at > now:
        return State.DEFERRED
    return State.SENDING if arrival.lease is not None and owner is not None else State.QUEUED


def read_earlier(mails: Sequence[NewMail]) -> Script[dict[Key, Earlier]]:
    """Find mail that is stored already, by (tenant, client id)."""
    by_tenant: dict[str, set[str]] = defaultdict(set)
    for mail in mails:
        by_tenant[mail.tenant_id].add(mail.id)
    found: dict[Key, Row] = {}
    for tenant_id in sorted(by_tenant):
        for row in (yield Query(KNOWN, (tenant_id, sorted(by_tenant[tenant_id])))):
            found[tenant_id, row["id"]] = row
    if not found:
        return {}
    rows = yield Query(STATES, (sorted(row["pk"] for row in found.values()),))
    begun = {row["message_pk"] for row in rows if not is_unsent(row)}
    begun |= {row["pk"] for row in found.values() if row["final_at"] is not None}
    return {
        key: Earlier(row["pk"], row["pk"] not in begun, row["held_at"])
        for key, row in found.items()
    }


def is_unsent(recipient: Row) -> bool:
    """Say whether nobody has begun to send to a recipient: one that was suppressed stands in no
    way.
    """
    return recipient["state"] in REPLACEABLE or recipient["reply"] == REASON


def remove(pks: Sequence[str]) -> Script[None]:
    """Take out what is replaced; its events stay, as the history of its pk."""
    keys = [(pk,) for pk in sorted(set(pks))]
    for sql in (DROP_RECIPIENTS, DROP_ATTACHMENTS, DROP_CONTENT, DROP_PARTS, DROP_MESSAGE):
        if keys:
            yield Each(sql, keys)
