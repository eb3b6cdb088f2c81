"""A mail comes in: message, recipients, content and event in one transaction.

A client's own id is unique in its tenant. The same id again replaces the mail while nobody has
begun to send it, and is refused as `already sent` afterwards. A mail may be born leased to the node
that took it (`hand_over`), which then sends it without reading it back.

A mail of which no recipient may be written to is refused as `suppressed`; where that is true of
some, they fail with an event, their sender is notified as of any failure, and the others get it.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.errors import OverQuota, Refused
from relay.model import NewAttachment, NewMail, State
from relay.store import contents, limits
from relay.store.contents import DROP_PARTS
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.gates import Gate, read_gates
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

NODE_LIVES = "SELECT epoch FROM nodes WHERE epoch = $1 {key_share}"
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

INSERT_MESSAGE = """
INSERT INTO messages (pk, tenant_id, id, account_id, priority, sender, ret, envid, has_8bit,
    has_utf8_headers,
    longest_line, size_bytes, ingress, message_id, batch_code, metadata, record, is_pec,
    on_unknown, max_attempts,
    deferred_ts, expires_at, accepted_at, updated_at, open_recipients, held_at, keeps_sender,
    is_prepared, late_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23,
    $24, $25, $26, $27, $28, $29)
"""
INSERT_RECIPIENT = """
INSERT INTO recipients (message_pk, n, address, notify, orcpt, state, lane, priority, due_at,
    owner, claim, attempts,
    unknowns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0)
"""
INSERT_ATTACHMENT = """
INSERT INTO attachments (message_pk, n, mode, source, auth, filename, mime_type, disposition,
    content_id, md5, from_end_bytes, state, got, size_bytes, sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
INSERT_EVENT = """
INSERT INTO events (message_pk, seq, tenant_id, kind, at, data, report) VALUES ($1, $2, $3, $4, $5,
    $6, 'none')
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail to store; with a `claim` it is to be born leased to this node, under that number."""

    mail: NewMail
    claim: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of it. `pk` is the earlier mail's where that was replaced; `epoch` is the lease
    it was born under; `barred` are the places of the recipients that are not written to, `notice`
    is what tells the sender of them.
    """

    pk: str
    replaced: bool = False
    state: State = State.QUEUED
    epoch: int | None = None
    held_at: float | None = None
    barred: frozenset[int] = frozenset()
    notice: Notice | None = None

    @property
    def handed_over(self) -> bool:
        return self.epoch is not None


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


def named(mail: NewMail, pk: str) -> NewMail:
    """Return a mail under the pk that it is stored as; its own is in its Received and in other
    fields of ours.
    """
    if pk == mail.pk:
        return mail
    content = mail.content.replace(mail.pk.encode(), pk.encode())
    message_id = mail.message_id and mail.message_id.replace(mail.pk, pk)
    return replace(mail, pk=pk, content=content, message_id=message_id)


def accept(
    arrivals: Sequence[Arrival], epoch: int, now: float, notify: Notify = notify_nobody
) -> Script[list[Accepted | Refused]]:
    """Store all that may be stored; one answer for each arrival, in order."""
    gates = yield from read_gates({a.mail.tenant_id for a in arrivals})
    rooms = yield from read_rooms(gates, now)
    hands_over = any(a.claim is not None for a in arrivals)
    owner = yield from living_epoch(epoch) if hands_over else nobody()
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
    return State.SENDING if arrival.claim is not None and owner is not None else State.QUEUED


def living_epoch(epoch: int) -> Script[int | None]:
    """Return the epoch if this node's lease still stands: only then may mail be born leased."""
    rows = yield Query(NODE_LIVES, (epoch,))
    return epoch if rows else None


def nobody() -> Script[None]:
    return None
    yield


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


def insert(stored: Sequence[tuple[Arrival, Accepted]]) -> Script[None]:
    if not stored:
        return
    yield Each(INSERT_MESSAGE, [message_row(a.mail, answer) for a, answer in stored])
    yield from contents.insert([(answer.pk, a.mail.content) for a, answer in stored])
    yield Each(
        INSERT_RECIPIENT,
        [row for arrival, answer in stored for row in recipient_rows(arrival, answer)],
    )
    yield Each(INSERT_EVENT, [event_row(a.mail, answer) for a, answer in stored])
    files = [(answer.pk, file) for a, answer in stored for file in a.mail.attachments]
    if files:
        yield Each(INSERT_ATTACHMENT, [attachment_row(pk, file) for pk, file in files])


def message_row(mail: NewMail, answer: Accepted) -> tuple[Value, ...]:
    envelope, traits = mail.envelope, mail.traits
    return (
        answer.pk,
        mail.tenant_id,
        mail.id,
        mail.account_id,
        int(mail.priority),
        envelope.sender,
        envelope.ret,
        envelope.envid,
        traits.has_8bit,
        traits.has_utf8_headers,
        traits.longest_line,
        len(mail.content),
        mail.ingress.value,
        mail.message_id,
        mail.batch_code,
        mail.metadata,
        mail.record,
        mail.is_pec,
        mail.on_unknown.value,
        mail.max_attempts,
        mail.due_at,
        mail.expires_at,
        mail.accepted_at,
        mail.accepted_at,
        len(envelope.recipients),
        answer.held_at,
        mail.keeps_sender,
        mail.is_prepared,
        mail.late_at,
    )


def recipient_rows(arrival: Arrival, answer: Accepted) -> list[tuple[Value, ...]]:
    mail, claim = arrival.mail, arrival.claim if answer.handed_over else None
    due_at = mail.due_at if mail.due_at is not None else mail.accepted_at
    return [
        (
            answer.pk,
            recipient.n,
            recipient.address,
            recipient.notify,
            recipient.orcpt,
            answer.state.value,
            mail.lane,
            int(mail.priority),
            due_at,
            answer.epoch,
            claim,
        )
        for recipient in mail.envelope.recipients
    ]


def attachment_row(pk: str, file: NewAttachment) -> tuple[Value, ...]:
    is_there = file.source is None
    return (
        pk,
        file.n,
        file.mode.value,
        file.source,
        file.auth,
        file.filename,
        file.mime_type,
        file.disposition,
        file.content_id,
        file.md5,
        file.from_end_bytes,
        "inserted" if is_there else "waiting",
        "given" if is_there else None,
        file.size_bytes,
        file.sha256,
    )


def event_row(mail: NewMail, answer: Accepted) -> tuple[Value, ...]:
    kind = "replaced" if answer.replaced else "accepted"
    data: dict[str, object] = {
        "ingress": mail.ingress.value,
        "recipients": len(mail.envelope.recipients),
    }
    if mail.repairs:
        data["repairs"] = mail.repairs
    seq = int(mail.accepted_at * 1e6)
    return answer.pk, seq, mail.tenant_id, kind, mail.accepted_at, json.dumps(data)
