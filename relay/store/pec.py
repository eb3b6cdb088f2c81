"""What a receipt of certified mail does: it is kept as it came, told as events, and ends the wait.

Promises: all of it is one transaction, which the caller makes one with the progress of its mailbox;
a receipt counts once, however often and from whatever mailbox it comes; it touches messages of the
mailbox's own tenant only. Receipts of one message are recorded one after another, under the locks
of its recipients. Who has a receipt is not sent to again.

A refusal, a failed delivery and a virus make the recipient `bounced`; proof of delivery outweighs
them, whichever comes first. Nobody is suppressed: certified mail has to be written again.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from relay import maillog
from relay.formats.address import folded
from relay.formats.pec.model import PecEvent, Receipt
from relay.metrics import Metrics
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.pec_proof import Doubt, Proof, doubts_of, end_doubts
from relay.store.pec_waits import END_WAIT
from relay.store.queue.settle import INSERT_EVENT

# Events of one receipt, two a recipient at most, are numbered from `first_seq`: ask the spool for
# so many numbers.
MOST_EVENTS = 2000
# Of addresses that the message does not have, so many are told of.
MOST_STRANGERS = 100

# The newest of several: a client may give one Message-ID to a mail and to its repetition. Only
# certified mail has receipts; one that is routed and being sent turns out to be it a moment later.
FIND = """
SELECT m.pk, m.id, t.client_base_url, t.keep_content_days
FROM messages m JOIN tenants t ON t.id = m.tenant_id
WHERE m.tenant_id = $1 AND m.message_id {among:$2} AND (m.is_pec OR EXISTS (
    SELECT 1 FROM recipients r WHERE r.message_pk = m.pk
        AND (r.account_id = $3 OR r.state = 'sending')))
ORDER BY m.pk DESC LIMIT 1
"""
FIND_OWN = """
SELECT m.pk, m.id, t.client_base_url, t.keep_content_days
FROM messages m JOIN tenants t ON t.id = m.tenant_id
WHERE m.tenant_id = $1 AND (m.pk = $2 OR m.id = $3) AND m.is_pec
ORDER BY m.pk DESC LIMIT 1
"""
LOCK = """
SELECT n, address, state, attempts, unknowns FROM recipients WHERE message_pk = $1
ORDER BY n {for_update}
"""
KNOWN = "SELECT number FROM receipts WHERE message_pk = $1 AND identity = $2"
LAST = "SELECT COALESCE(MAX(number), 0) AS number FROM receipts WHERE message_pk = $1"
INSERT = """
INSERT INTO receipts (message_pk, number, tenant_id, id, account_id, identity, kind, at,
    received_at, recipients, error, detail, provider, provider_id, size_bytes, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
DELIVERED = """
SELECT n FROM events WHERE message_pk = $1 AND kind = 'pec_delivery' AND n IS NOT NULL
"""
BOUNCE = """
UPDATE recipients SET state = 'bounced', bounced_at = $3, bounce_type = $4, bounce_code = $5,
    bounce_reason = $6
WHERE message_pk = $1 AND n = $2 AND state = 'sent' RETURNING n
"""
DELIVER = """
UPDATE recipients SET state = 'sent', bounced_at = NULL, bounce_type = NULL, bounce_code = NULL,
    bounce_reason = NULL
WHERE message_pk = $1 AND n = $2 AND state = 'bounced'
"""
# What is final ends anew: it is kept from now on, until this too is reported.
TOUCH = """
UPDATE messages SET is_pec = $2, updated_at = $3,
    final_at = CASE WHEN final_at IS NOT NULL THEN CAST($3 AS DOUBLE PRECISION) END
WHERE pk = $1
"""

BOUNCE_TYPES = {"no-dest": "hard", "no-dominio": "hard", "virus": "block"}
STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")  # RFC 3463 §2


class Found(StrEnum):
    """What became of a receipt."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    "It was recorded before; nothing was written."
    UNKNOWN = "unknown"
    "It is about no message of this tenant; nothing was written."


@dataclass(frozen=True, slots=True)
class Arrived:
    """A receipt from the mailbox of an account, and the bytes it came as."""

    tenant_id: str
    account_id: str
    receipt: Receipt
    raw: bytes
    now: float
    first_seq: int

    @property
    def at(self) -> float:
        return self.now if self.receipt.at is None else self.receipt.at


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a receipt: of which message it is, its number there, and how many recipients
    it made `bounced`.
    """

    found: Found
    message_pk: str | None = None
    number: int | None = None
    bounced: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """The message that a receipt is about, with its recipients by number."""

    pk: str
    id: str
    report: str
    keeps_content: bool
    addresses: dict[int, str]
    doubts: Sequence[Doubt]


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient that a receipt speaks of; `n` is None for one that the message does not have,
    or that the receipt does not name.
    """

    n: int | None
    address: str | None


def record_receipt(arrived: Arrived) -> Script[Filed]:
    """Keep a receipt, tell what it says of each recipient, and end the wait for it."""
    subject = yield from find(arrived)
    if subject is None:
        return Filed(Found.UNKNOWN)
    identity = identity_of(arrived)
    known = yield Query(KNOWN, (subject.pk, identity))
    if known:
        return Filed(Found.REPEATED, subject.pk, known[0]["number"])
    number: int = (yield Query(LAST, (subject.pk,)))[0]["number"] + 1
    yield Query(INSERT, receipt_row(arrived, subject, number, identity))
    told = spoken_of(arrived.receipt, subject.addresses)
    ns = [one.n for one in told if one.n is not None]
    seqs = count(arrived.first_seq)
    yield from end_doubts(proof_of(arrived, subject, ns), seqs)
    bounced = yield from change_states(arrived, subject, ns)
    yield Each(INSERT_EVENT, event_rows(arrived, subject, number, told, seqs))
    yield Query(TOUCH, (subject.pk, True, arrived.now))
    return Filed(Found.RECORDED, subject.pk, number, bounced)


def tell(arrived: Arrived, filed: Filed, metrics: Metrics) -> None:
    """Count and log what became of a receipt; call it after the commit."""
    kind = arrived.receipt.kind
    metrics.pec_receipt(arrived.tenant_id, kind if filed.found is Found.RECORDED else filed.found)
    for _ in range(filed.bounced):
        metrics.bounced(arrived.tenant_id, arrived.account_id)
    maillog.pec_receipt(
        filed.message_pk,
        tenant=arrived.tenant_id,
        account=arrived.account_id,
        kind=kind,
        found=filed.found,
    )


def find(arrived: Arrived) -> Script[Subject | None]:
    """Find the message of a receipt, and lock it."""
    row = yield from find_row(arrived)
    if row is None:
        return None
    places = yield Query(LOCK, (row["pk"],))
    if not places:
        return None
    addresses = {place["n"]: place["address"] for place in places}
    return Subject(
        pk=row["pk"],
        id=row["id"],
        report="none" if row["client_base_url"] is None else "waiting",
        keeps_content=bool(row["keep_content_days"]),
        addresses=addresses,
        doubts=doubts_of(places),
    )


def find_row(arrived: Arrived) -> Script[Row | None]:
    tenant_id, account_id, receipt = arrived.tenant_id, arrived.account_id, arrived.receipt
    for message_id in receipt.message_ids:
        spellings = [message_id, message_id.strip("<>")]
        rows = yield Query(FIND, (tenant_id, spellings, account_id))
        if rows:
            return rows[0]
    if receipt.pillarbox_id is None and receipt.genro_id is None:
        return None
    values = tenant_id, receipt.pillarbox_id or "", receipt.genro_id or ""
    rows = yield Query(FIND_OWN, values)
    return rows[0] if rows else None


def proof_of(arrived: Arrived, subject: Subject, ns: Collection[int]) -> Proof:
    return Proof(
        subject.pk,
        arrived.tenant_id,
        arrived.account_id,
        [doubt for doubt in subject.doubts if doubt.n in ns],
        f"known by its receipt: {arrived.receipt.kind}",
        arrived.now,
        subject.report,
        subject.keeps_content,
    )


def change_states(arrived: Arrived, subject: Subject, ns: Sequence[int]) -> Script[int]:
    """End the wait for these recipients, and say where their mail is now known to be; return how
    many are bounced by that.
    """
    yield Each(END_WAIT, [(subject.pk, n) for n in ns])
    if arrived.receipt.event is PecEvent.DELIVERY:
        yield Each(DELIVER, [(subject.pk, n) for n in ns])
    if not arrived.receipt.is_failure:
        return 0
    delivered = {row["n"] for row in (yield Query(DELIVERED, (subject.pk,)))}
    bounced = 0
    for values in bounce_rows(arrived, subject.pk, ns, delivered):
        bounced += len((yield Query(BOUNCE, values)))
    return bounced


def spoken_of(receipt: Receipt, addresses: dict[int, str]) -> list[Told]:
    """Decide whom a receipt speaks of."""
    named = {folded(address) for address in receipt.recipients}
    told = [Told(n, address) for n, address in addresses.items() if folded(address) in named]
    if told:
        return told
    if receipt.is_about_all or (not named and len(addresses) == 1):
        return [Told(n, address) for n, address in addresses.items()]
    return [Told(None, address) for address in receipt.recipients[:MOST_STRANGERS]] or [
        Told(None, None)
    ]


def identity_of(arrived: Arrived) -> str:
    """Name a receipt the same way whenever it comes, also by another mailbox with other trace
    fields. One without a Message-ID is known by its bytes.
    """
    receipt = arrived.receipt
    if receipt.own_id is None:
        return hashlib.sha256(arrived.raw).hexdigest()
    parts = (receipt.own_id, receipt.kind, receipt.error, receipt.at, *receipt.recipients)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def details(receipt: Receipt) -> str:
    """Say in words what a receipt says: its kind, the norm's word for the error, the provider's
    text.
    """
    error = f" ({receipt.error})" if receipt.error else ""
    detail = f": {receipt.detail}" if receipt.detail else ""
    return f"{receipt.kind}{error}{detail}"


def receipt_row(
    arrived: Arrived, subject: Subject, number: int, identity: str
) -> tuple[Value, ...]:
    receipt = arrived.receipt
    return (
        subject.pk,
        number,
        arrived.tenant_id,
        subject.id,
        arrived.account_id,
        identity,
        receipt.kind.value,
        arrived.at,
        arrived.now,
        json.dumps(receipt.recipients),
        receipt.error,
        receipt.detail,
        receipt.provider,
        receipt.provider_id,
        len(arrived.raw),
        arrived.raw,
    )


def bounce_rows(
    arrived: Arrived, pk: str, ns: Sequence[int], delivered: Collection[int]
) -> list[tuple[Value, ...]]:
    receipt = arrived.receipt
    status = STATUS.search(receipt.detail or "")
    bounce_type = BOUNCE_TYPES.get(receipt.error or "", "soft")
    code = status[0] if status else None
    return [
        (pk, n, arrived.at, bounce_type, code, details(receipt)) for n in ns if n not in delivered
    ]


def event_rows(
    arrived: Arrived, subject: Subject, number: int, told: Sequence[Told], seqs: Iterator[int]
) -> list[tuple[Value, ...]]:
    kind = arrived.receipt.event.value
    return [
        (
            subject.pk,
            next(seqs),
            arrived.tenant_id,
            one.n,
            kind,
            arrived.at,
            json.dumps(event_data(arrived, number, one)),
            subject.report,
        )
        for one in told
    ]


def event_data(arrived: Arrived, number: int, one: Told) -> dict[str, object]:
    receipt = arrived.receipt
    return {
        "recipient": one.address,
        "account_id": arrived.account_id,
        "details": details(receipt),
        "receipt": number,
        "receipt_type": receipt.kind.value,
        "receipt_message_id": receipt.own_id,
    }
