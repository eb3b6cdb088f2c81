"""A stored message as clients see it. Pure: a message's status follows from its recipients."""

from collections.abc import Iterable, Sequence

from admin_api.schemas.attachment import AttachmentRecord
from admin_api.schemas.message import Attempt, Event, FullRecord, RecipientRecord, Record
from admin_api.schemas.receipt import ReceiptRecord
from relay.formats.stored_json import object_in
from relay.model import FINAL_STATES, State
from relay.store.attachments import AttachmentView
from relay.store.messages import AttemptView, EventView, MessageView, RecipientView
from relay.store.receipts import ReceiptView
from relay.value import frozen

# A bounce came back after the upstream had taken it: it was sent all the same.
_GOT_IT = frozenset({State.SENT, State.BOUNCED})


@frozen
class Story:
    """What happened to a message; `waiting_for` says why it is due and not sent."""

    attempts: Sequence[AttemptView]
    events: Sequence[EventView]
    receipts: Sequence[ReceiptView]
    files: Sequence[AttachmentView]
    waiting_for: str | None


def status_of(recipients: Sequence[RecipientView]) -> str:
    """Name what is going on with a message; what still moves goes before what has ended."""
    states = {r.state for r in recipients}
    if State.SENDING in states:
        return "sending"
    if State.QUEUED in states:
        return "queued"
    if State.DEFERRED in states:
        return "deferred" if any(r.attempts for r in recipients) else "scheduled"
    if State.SUSPENDED in states:
        return "suspended"
    return _ended(states)


def _ended(states: set[State]) -> str:
    if states & _GOT_IT:
        return "sent" if states <= _GOT_IT else "partial"
    return "failed" if State.FAILED in states else "cancelled"


def record(
    view: MessageView, tenant_name: str | None, events: Sequence[EventView] | None
) -> Record:
    """Describe a message; with `events`, its history too."""
    return Record.model_construct(
        **_values(view, tenant_name),  # type: ignore[arg-type] # model_construct checks nothing
        history=None if events is None else [_event(event) for event in events],
    )


def full_record(view: MessageView, tenant_name: str | None, story: Story) -> FullRecord:
    """Describe a message with its story."""
    return FullRecord.model_construct(
        **_values(view, tenant_name),  # type: ignore[arg-type] # as above
        waiting_for=story.waiting_for,
        attachments=[_attachment(file) for file in story.files],
        attempts=[_attempt(attempt) for attempt in story.attempts],
        events=[_event(event) for event in story.events],
        receipts=[receipt_record(receipt) for receipt in story.receipts],
    )


def receipt_record(view: ReceiptView) -> ReceiptRecord:
    return ReceiptRecord(
        n=view.number,
        receipt_type=view.kind.value,
        ts=int(view.at),
        received_ts=int(view.received_at),
        account_id=view.account_id,
        recipients=list(view.recipients),
        error=view.error,
        detail=view.detail,
        provider=view.provider,
        provider_id=view.provider_id,
        size_bytes=view.size_bytes,
    )


def _values(view: MessageView, tenant_name: str | None) -> dict[str, object]:
    recipients = view.recipients
    is_final = all(r.state in FINAL_STATES for r in recipients)
    sent = [r for r in recipients if r.state in _GOT_IT]
    failed = [r for r in recipients if r.state is State.FAILED]
    is_lost = is_final and bool(failed) and not sent
    bounced = max(
        (r for r in recipients if r.state is State.BOUNCED),
        key=lambda r: r.bounced_at or 0.0,
        default=None,
    )
    return {
        "pk": view.pk,
        "id": view.id,
        "tenant_id": view.tenant_id,
        "tenant_name": tenant_name,
        "account_id": view.account_id,
        "priority": view.priority,
        "batch_code": view.batch_code,
        "status": status_of(recipients),
        "deferred_ts": _seconds(min(_waits(recipients), default=None)),
        "sent_ts": _latest(r.final_at for r in sent) if is_final else None,
        "smtp_ts": _latest(r.tried_at for r in recipients),
        "error_ts": _latest(r.final_at for r in failed) if is_lost else None,
        "error": failed[0].reply if is_lost else None,
        "reported_ts": _seconds(view.reported_at) if is_final else None,
        "bounce_type": bounced and bounced.bounce_type,
        "bounce_code": bounced and bounced.bounce_code,
        "bounce_reason": bounced and bounced.bounce_reason,
        "bounce_ts": _seconds(bounced.bounced_at) if bounced else None,
        "created_at": view.accepted_at,
        "updated_at": view.updated_at,
        "message": object_in(view.record),
        "metadata": None if view.metadata is None else object_in(view.metadata),
        "is_pec": view.is_pec,
        "recipients": [_recipient(r) for r in recipients],
    }


def _waits(recipients: Sequence[RecipientView]) -> list[float]:
    return [r.due_at for r in recipients if r.state is State.DEFERRED]


def _recipient(view: RecipientView) -> RecipientRecord:
    return RecipientRecord.model_construct(
        address=view.address,
        status=view.state.value,
        attempts=view.attempts,
        code=view.code,
        reply=view.reply,
        account_id=view.account_id,
        next_attempt_ts=_seconds(view.due_at) if view.state is State.DEFERRED else None,
    )


def _event(view: EventView) -> Event:
    return Event(seq=view.seq, event=view.kind, ts=view.at, data=view.data)


def _attempt(view: AttemptView) -> Attempt:
    return Attempt(
        account_id=view.account_id,
        started_at=view.started_at,
        ended_at=view.ended_at,
        outcomes=list(view.outcomes),
    )


def _attachment(view: AttachmentView) -> AttachmentRecord:
    return AttachmentRecord.model_construct(
        filename=view.filename,
        mime_type=view.mime_type,
        fetch_mode=view.mode,
        status=view.state,
        size_bytes=view.size_bytes,
        sha256=view.sha256,
        cache=None if view.got in (None, "given") else "miss" if view.got == "fetched" else "hit",
        link=view.link,
        link_expires_ts=_seconds(view.link_expires_at),
    )


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)


def _latest(times: Iterable[float | None]) -> int | None:
    return _seconds(max((at for at in times if at is not None), default=None))
