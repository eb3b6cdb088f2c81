"""Recipients that their tenant does not write to: found when a mail is accepted, failed at birth.

It is asked in the transaction that stores the mail, so every node sees what any node suppressed.
Tenants without suppressions are not asked for (`Gate.suppresses`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relay.errors import Refused
from relay.formats.address import folded
from relay.model import NewMail, State
from relay.store.database import Each, Query, Script, Value
from relay.store.queue.gates import Gate
from relay.store.queue.handover import delivery_of
from relay.store.queue.settle import (
    FINISH,
    INSERT_EVENT,
    Gates,
    Notice,
    Notify,
    Resolution,
    Settlement,
    drop_content,
)

REASON = "suppressed"
CODE = 550
STATUS = "5.7.1"
REPLY = "mail to this address is suppressed"

AMONG = """
SELECT address FROM suppressions
WHERE tenant_id = $1 AND address {among:$2} AND (until IS NULL OR until > $3)
"""
WISHES = "SELECT client_base_url, keep_content_days FROM tenants WHERE id = $1"
FAIL = """
UPDATE recipients SET state = 'failed', owner = NULL, claim = NULL, code = $3, reply = $4,
    final_at = $5
WHERE message_pk = $1 AND n = $2
"""

Suppressed = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Barred:
    """The recipients of a stored mail, by their place, that are not written to."""

    mail: NewMail
    ns: frozenset[int]


def read_suppressed(
    mails: Sequence[NewMail], gates: Mapping[str, Gate], now: float
) -> Script[Suppressed]:
    """Return the folded addresses, by tenant, that are recipients of these mails and suppressed."""
    found: dict[str, frozenset[str]] = {}
    for tenant_id in sorted(name for name, gate in gates.items() if gate.suppresses):
        asked = {
            recipient.address
            for mail in mails
            if mail.tenant_id == tenant_id
            for recipient in mail.envelope.recipients
        }
        found[tenant_id] = yield from among(tenant_id, asked, now)
    return found


def among(tenant_id: str, addresses: Collection[str], now: float) -> Script[frozenset[str]]:
    """Return which of these addresses, folded, a tenant does not write to."""
    asked = sorted({folded(address) for address in addresses})
    rows = yield Query(AMONG, (tenant_id, asked, now))
    return frozenset(row["address"] for row in rows)


def barred_of(mail: NewMail, suppressed: Suppressed) -> frozenset[int]:
    """Return the places of the recipients that are not written to. Raises Refused where that is
    all of them, unless the mail is taken all the same.
    """
    addresses = suppressed.get(mail.tenant_id)
    if not addresses:
        return frozenset()
    recipients = mail.envelope.recipients
    barred = frozenset(r.n for r in recipients if folded(r.address) in addresses)
    if len(barred) == len(recipients) and not mail.takes_suppressed:
        raise refusal("every recipient of this mail")
    return barred


def refusal(who: str) -> Refused:
    return Refused(f"{who} is suppressed", reason=REASON, code=CODE)


def end(items: Sequence[Barred], gates: Gates, notify: Notify) -> Script[list[Notice]]:
    """End these recipients of mail that was stored a moment ago, each with its event; answer with
    what `notify` queued for their senders.
    """
    # Before the content goes.
    notices = yield from notify([settlement_of(item) for item in items], gates)
    yield from fail(items)
    return notices


def settlement_of(item: Barred) -> Settlement:
    """Say of them what is said of any mail that is given up without an attempt."""
    mail, at = item.mail, item.mail.accepted_at
    barred = [r for r in mail.envelope.recipients if r.n in item.ns]
    return Settlement(
        delivery=delivery_of(mail, barred, epoch=0),
        account_id=mail.account_id or "",
        started_at=at,
        ended_at=at,
        outcomes=(),
        resolutions=tuple(
            Resolution(r.n, State.FAILED, 0, 0, at, CODE, REPLY, status=STATUS) for r in barred
        ),
    )


def fail(items: Sequence[Barred]) -> Script[None]:
    for item in items:
        mail, at = item.mail, item.mail.accepted_at
        wishes = (yield Query(WISHES, (mail.tenant_id,)))[0]
        report = "none" if wishes["client_base_url"] is None else "waiting"
        yield Each(FAIL, [(mail.pk, n, CODE, REASON, at) for n in sorted(item.ns)])
        yield Each(INSERT_EVENT, event_rows(item, report))
        yield Query(FINISH, (mail.pk, len(item.ns), at))
        if not wishes["keep_content_days"]:
            yield from drop_content(mail.pk)


def event_rows(item: Barred, report: str) -> list[tuple[Value, ...]]:
    """Return the event of each, numbered after the acceptance, whose number is its time."""
    mail = item.mail
    barred = [r for r in mail.envelope.recipients if r.n in item.ns]
    first_seq = int(mail.accepted_at * 1e6) + 1
    return [
        (
            mail.pk,
            seq,
            mail.tenant_id,
            recipient.n,
            REASON,
            mail.accepted_at,
            json.dumps(
                {
                    "recipient": recipient.address,
                    "account_id": mail.account_id,
                    "code": CODE,
                    "reply": REASON,
                    "attempts": 0,
                }
            ),
            report,
        )
        for seq, recipient in enumerate(barred, first_seq)
    ]
