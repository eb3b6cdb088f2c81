"""A mail comes in: message, recipients, content and event in one transaction.

A client's own id is unique in its tenant. The same id again replaces the mail while nobody has
begun to send it, and is refused as `already sent` afterwards. A mail may be born leased to the node
that took it (`hand_over`), which then sends it without reading it back.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import Refused
from relay.model import NewMail, State
from relay.store.database import Each, Query, Script, Value

REPLACEABLE = frozenset({State.QUEUED, State.DEFERRED, State.SUSPENDED})

GATES = """
SELECT id, active, suspended_batches FROM tenants WHERE id {among:$1} {for_share}
"""
NODE_LIVES = "SELECT epoch FROM nodes WHERE epoch = $1 {key_share}"
KNOWN = "SELECT id, pk FROM messages WHERE tenant_id = $1 AND id {among:$2} {for_update}"
STATES = "SELECT message_pk, state FROM recipients WHERE message_pk {among:$1} {for_update}"
DROP_RECIPIENTS = "DELETE FROM recipients WHERE message_pk = $1"
DROP_CONTENT = "DELETE FROM contents WHERE message_pk = $1"
DROP_MESSAGE = "DELETE FROM messages WHERE pk = $1"

INSERT_MESSAGE = """
INSERT INTO messages (pk, tenant_id, id, account_id, priority, sender, ret, envid, has_8bit,
    has_utf8_headers,
    longest_line, size_bytes, ingress, message_id, batch_code, metadata, record, is_pec,
    on_unknown, max_attempts,
    deferred_ts, expires_at, accepted_at, updated_at, open_recipients)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23,
    $24, $25)
"""
INSERT_CONTENT = "INSERT INTO contents (message_pk, body) VALUES ($1, $2)"
INSERT_RECIPIENT = """
INSERT INTO recipients (message_pk, n, address, notify, orcpt, state, lane, priority, due_at,
    owner, claim, attempts,
    unknowns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0)
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
    it was born under.
    """

    pk: str
    replaced: bool = False
    state: State = State.QUEUED
    epoch: int | None = None

    @property
    def handed_over(self) -> bool:
        return self.epoch is not None


@dataclass(frozen=True, slots=True)
class Gate:
    active: bool
    suspended: frozenset[str]

    def holds(self, batch_code: str | None) -> bool:
        return "*" in self.suspended or batch_code in self.suspended


def accept(arrivals: Sequence[Arrival], epoch: int, now: float) -> Script[list[Accepted | Refused]]:
    """Store all that may be stored; one answer for each arrival, in order."""
    gates = yield from read_gates({a.mail.tenant_id for a in arrivals})
    owner = (
        yield from living_epoch(epoch) if any(a.claim is not None for a in arrivals) else nobody()
    )
    earlier = yield from read_earlier([a.mail for a in arrivals if a.mail.id_given])
    answers: list[Accepted | Refused] = []
    stored: dict[tuple[str, str], tuple[Arrival, Accepted]] = {}
    replaced: list[str] = []
    for arrival in arrivals:
        mail, key = arrival.mail, (arrival.mail.tenant_id, arrival.mail.id)
        gate = gates.get(mail.tenant_id)
        pk, replaceable = earlier.get(key, (None, True))
        if gate is None or not gate.active:
            answers.append(Refused("this tenant is not active", code=550, enhanced="5.7.1"))
        elif not replaceable or (key in stored and stored[key][1].handed_over):
            answers.append(Refused("already sent", reason="already sent"))
        else:
            state = first_state(arrival, gate, owner, now)
            lease = owner if state is State.SENDING else None
            known = stored[key][1].pk if key in stored else pk
            answer = Accepted(known or mail.pk, known is not None, state, lease)
            stored[key] = (arrival, answer)
            answers.append(answer)
            if pk:
                replaced.append(pk)
    yield from remove(replaced)
    yield from insert(list(stored.values()))
    return answers


def first_state(arrival: Arrival, gate: Gate, owner: int | None, now: float) -> State:
    if gate.holds(arrival.mail.batch_code):
        return State.SUSPENDED
    if arrival.mail.due_at is not None and arrival.mail.due_at > now:
        return State.DEFERRED
    return State.SENDING if arrival.claim is not None and owner is not None else State.QUEUED


def read_gates(tenant_ids: set[str]) -> Script[dict[str, Gate]]:
    rows = yield Query(GATES, (sorted(tenant_ids),))
    return {
        row["id"]: Gate(bool(row["active"]), frozenset(json.loads(row["suspended_batches"])))
        for row in rows
    }


def living_epoch(epoch: int) -> Script[int | None]:
    """Return the epoch if this node's lease still stands: only then may mail be born leased
    to it.
    """
    rows = yield Query(NODE_LIVES, (epoch,))
    return epoch if rows else None


def nobody() -> Script[None]:
    return None
    yield


def read_earlier(mails: Sequence[NewMail]) -> Script[dict[tuple[str, str], tuple[str, bool]]]:
    """Map (tenant, client id) of mail that is stored already to its pk and whether it may be
    replaced.
    """
    by_tenant: dict[str, set[str]] = defaultdict(set)
    for mail in mails:
        by_tenant[mail.tenant_id].add(mail.id)
    pks: dict[tuple[str, str], str] = {}
    for tenant_id in sorted(by_tenant):
        for row in (yield Query(KNOWN, (tenant_id, sorted(by_tenant[tenant_id])))):
            pks[tenant_id, row["id"]] = row["pk"]
    if not pks:
        return {}
    rows = yield Query(STATES, (sorted(pks.values()),))
    begun = {row["message_pk"] for row in rows if row["state"] not in REPLACEABLE}
    return {key: (pk, pk not in begun) for key, pk in pks.items()}


def remove(pks: Sequence[str]) -> Script[None]:
    """Take out what is replaced; its events stay, as the history of its pk."""
    keys = [(pk,) for pk in sorted(set(pks))]
    for sql in (DROP_RECIPIENTS, DROP_CONTENT, DROP_MESSAGE):
        if keys:
            yield Each(sql, keys)


def insert(stored: Sequence[tuple[Arrival, Accepted]]) -> Script[None]:
    if not stored:
        return
    yield Each(INSERT_MESSAGE, [message_row(a.mail, answer.pk) for a, answer in stored])
    yield Each(INSERT_CONTENT, [(answer.pk, a.mail.content) for a, answer in stored])
    yield Each(
        INSERT_RECIPIENT,
        [row for arrival, answer in stored for row in recipient_rows(arrival, answer)],
    )
    yield Each(INSERT_EVENT, [event_row(a.mail, answer) for a, answer in stored])


def message_row(mail: NewMail, pk: str) -> tuple[Value, ...]:
    envelope, traits = mail.envelope, mail.traits
    return (
        pk,
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


def event_row(mail: NewMail, answer: Accepted) -> tuple[Value, ...]:
    kind = "replaced" if answer.replaced else "accepted"
    data = json.dumps({"ingress": mail.ingress.value, "recipients": len(mail.envelope.recipients)})
    return answer.pk, int(mail.accepted_at * 1e6), mail.tenant_id, kind, mail.accepted_at, data
