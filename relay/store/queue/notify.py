"""Notifications to senders are written, and queued in the transaction that ends or delays the mail.

So neither can be without the other, whenever a node dies. A notification is a mail of the tenant
with the null sender; it stands in the lane of the mail that it is about, and so leaves by an
account that could have carried that one. What cannot be put into words is logged and left out: it
must not hold up the end of the mail; a sender that its tenant does not write to is not notified.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay import maillog
from relay.errors import ContentRefused
from relay.formats.address import folded
from relay.formats.dsn import (
    HEAD_BYTES,
    Fate,
    Notification,
    Original,
    compose,
    head_of,
    is_answer,
    subject_of,
)
from relay.formats.headers import assess
from relay.model import Envelope, Ingress, NewMail, Priority, Recipient, State, new_pk
from relay.store.database import Query, Row, Script
from relay.store.queue.accept import Accepted, Arrival, insert
from relay.store.queue.gates import Gate
from relay.store.queue.notices import Case, cases
from relay.store.queue.settle import Notice, Settlement
from relay.store.queue.suppressed import among

# Each brings its original's bytes into memory.
AT_ONCE = 50

ORIGINALS = """
SELECT message_pk, substr(body, 1, $2) AS excerpt FROM contents WHERE message_pk {among:$1}
"""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """Who writes. A mail of up to `max_original_bytes` is returned whole where RET asks for it."""

    host_name: str
    author: str
    max_original_bytes: int

    @property
    def excerpt_bytes(self) -> int:
        return max(HEAD_BYTES, self.max_original_bytes)


Gates = Mapping[str, Gate]


def notify_of(
    items: Sequence[Settlement], gates: Gates, postmaster: Postmaster, now: float
) -> Script[list[Notice]]:
    """Tell the senders what came of these attempts. The content must still be there."""
    return (yield from notify(cases(items, gates), gates, postmaster, now))


def notify(
    told: Sequence[Case], gates: Gates, postmaster: Postmaster, now: float
) -> Script[list[Notice]]:
    """Queue one notification for each case that gets one."""
    notices: list[Notice] = []
    told = yield from reachable(told, gates, now)
    for at in range(0, len(told), AT_ONCE):
        notices += yield from notify_some(told[at : at + AT_ONCE], gates, postmaster, now)
    return notices


def reachable(told: Sequence[Case], gates: Gates, now: float) -> Script[list[Case]]:
    """Leave out the cases whose sender is suppressed, as any recipient would be."""
    suppressed: dict[str, frozenset[str]] = {}
    for tenant_id in sorted({c.tenant_id for c in told if gates[c.tenant_id].suppresses}):
        senders = {case.sender for case in told if case.tenant_id == tenant_id}
        suppressed[tenant_id] = yield from among(tenant_id, senders, now)
    kept = []
    for case in told:
        if folded(case.sender) in suppressed.get(case.tenant_id, ()):
            maillog.sender_suppressed(case.pk, tenant=case.tenant_id)
        else:
            kept.append(case)
    return kept


def notify_some(
    told: Sequence[Case], gates: Gates, postmaster: Postmaster, now: float
) -> Script[list[Notice]]:
    rows = yield Query(ORIGINALS, ([case.pk for case in told], postmaster.excerpt_bytes))
    excerpts = {row["message_pk"]: bytes(row["excerpt"]) for row in rows}
    mails = [
        (case, mail)
        for case in told
        if (mail := written(case, excerpts.get(case.pk, b""), postmaster, now))
    ]
    yield from insert([stored(mail, gates[case.tenant_id]) for case, mail in mails])
    return [
        Notice(mail.pk, case.pk, case.tenant_id, case.lane, len(case.fates)) for case, mail in mails
    ]


def case_of(row: Row, lane: str, fates: tuple[Fate, ...]) -> Case:
    """Read the mail that a row of `messages` is."""
    return Case(
        pk=row["pk"],
        id=row["id"],
        tenant_id=row["tenant_id"],
        account_id=row["account_id"],
        lane=lane,
        priority=row["priority"],
        sender=row["sender"],
        accepted_at=row["accepted_at"],
        size_bytes=row["size_bytes"],
        fates=fates,
        ret=row["ret"],
        envid=row["envid"],
    )


def stored(mail: NewMail, gate: Gate) -> tuple[Arrival, Accepted]:
    """Say how it is stored: it waits, as all mail of a tenant that is suspended."""
    state = State.SUSPENDED if gate.holds(mail.batch_code) else State.QUEUED
    return Arrival(mail), Accepted(mail.pk, state=state)


def written(case: Case, excerpt: bytes, postmaster: Postmaster, now: float) -> NewMail | None:
    """Write the notification; None where the mail is one that is not answered."""
    try:
        if is_answer(head_of(excerpt)):
            return None
        return new_mail(case, note_of(case, excerpt, postmaster, now))
    except (ContentRefused, ValueError) as error:
        maillog.unexpected("notify", error)
        return None


def note_of(case: Case, excerpt: bytes, postmaster: Postmaster, now: float) -> Notification:
    original = Original(
        pk=case.pk,
        sender=case.sender,
        arrived_at=case.accepted_at,
        content=excerpt,
        is_whole=case.size_bytes <= min(len(excerpt), postmaster.max_original_bytes),
        ret=case.ret,
        envid=case.envid,
        deliver_by=case.deliver_by,
    )
    author = postmaster.author
    return Notification(new_pk(now), postmaster.host_name, author, now, original, case.fates)


def new_mail(case: Case, note: Notification) -> NewMail:
    content = compose(note)
    record = {
        "from": note.author,
        "to": [case.sender],
        "cc": "",
        "subject": subject_of(case.fates),
        "dsn_of": {"pk": case.pk, "id": case.id},
    }
    return NewMail(
        pk=note.pk,
        id=note.pk,
        id_given=False,
        tenant_id=case.tenant_id,
        account_id=case.account_id,
        lane=case.lane,
        priority=Priority(case.priority),
        # RFC 3464 §2: the null sender, and nothing is to be told of it.
        envelope=Envelope("", (Recipient(0, case.sender, notify="NEVER"),)),
        content=content,
        traits=assess(content),
        ingress=Ingress.DSN,
        accepted_at=note.at,
        message_id=note.message_id,
        record=json.dumps(record),
    )
