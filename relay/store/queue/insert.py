"""The rows that a new mail is stored as."""

import json
from collections.abc import Sequence
from functools import lru_cache

from relay.model import NewAttachment, NewMail
from relay.store import contents
from relay.store.database import Each, Script, Value
from relay.store.queue.arrival import Accepted, Arrival

INSERT_MESSAGE = """
INSERT INTO messages (pk, tenant_id, id, account_id, priority, sender, ret, envid, has_8bit,
    has_utf8_headers,
    longest_line, size_bytes, ingress, message_id, batch_code, metadata, record, is_pec,
    on_unknown, max_attempts,
    deferred_ts, expires_at, accepted_at, updated_at, open_recipients, held_at, keeps_sender,
    is_prepared, late_at)
{rows:TEXT, TEXT, TEXT, TEXT, BIGINT, TEXT, TEXT, TEXT, BOOLEAN,
    BOOLEAN,
    BIGINT, BIGINT, TEXT, TEXT, TEXT, TEXT, TEXT, BOOLEAN,
    TEXT, BIGINT,
    DOUBLE PRECISION, DOUBLE PRECISION, DOUBLE PRECISION, DOUBLE PRECISION, BIGINT,
    DOUBLE PRECISION, BOOLEAN, BOOLEAN, DOUBLE PRECISION}
"""
INSERT_RECIPIENT = """
INSERT INTO recipients (message_pk, n, address, notify, orcpt, state, lane, priority, due_at,
    owner, claim, begun_at, attempts,
    unknowns)
{rows:TEXT, BIGINT, TEXT, TEXT, TEXT, TEXT, TEXT, BIGINT, DOUBLE PRECISION, BIGINT, BIGINT,
    DOUBLE PRECISION, BIGINT, BIGINT}
"""
INSERT_ATTACHMENT = """
INSERT INTO attachments (message_pk, n, mode, source, auth, filename, mime_type, disposition,
    content_id, md5, from_end_bytes, state, got, size_bytes, sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
INSERT_EVENT = """
INSERT INTO events (message_pk, seq, tenant_id, kind, at, data, report)
{rows:TEXT, BIGINT, TEXT, TEXT, DOUBLE PRECISION, TEXT, TEXT}
"""


def insert(stored: Sequence[tuple[Arrival, Accepted]]) -> Script[None]:
    if not stored:
        return
    recipients = [row for arrival, answer in stored for row in recipient_rows(arrival, answer)]
    yield from contents.insert_with(
        [(answer.pk, a.mail.content) for a, answer in stored],
        Each(INSERT_MESSAGE, [message_row(a.mail, answer) for a, answer in stored]),
        Each(INSERT_RECIPIENT, recipients),
        Each(INSERT_EVENT, [event_row(a.mail, answer) for a, answer in stored]),
    )
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
    mail, lease = arrival.mail, arrival.lease if answer.handed_over else None
    claim = lease.claim if lease else None
    begun_at = mail.accepted_at if lease and lease.is_begun else None
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
            begun_at,
            0,
            0,
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
    data = event_data(mail.ingress.value, len(mail.envelope.recipients), mail.repairs)
    seq = int(mail.accepted_at * 1e6)
    return answer.pk, seq, mail.tenant_id, kind, mail.accepted_at, data, "none"


@lru_cache(maxsize=256)
def event_data(ingress: str, recipients: int, repairs: tuple[str, ...]) -> str:
    data: dict[str, object] = {"ingress": ingress, "recipients": recipients}
    if repairs:
        data["repairs"] = repairs
    return json.dumps(data)
