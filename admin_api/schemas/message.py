"""Messages: as they are added, as they are listed."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from admin_api.schemas.attachment import Attachment, AttachmentRecord, InlineImage
from admin_api.schemas.model import (
    HORIZON_S,
    Attempts,
    Lifetime,
    Model,
    Number,
    Ok,
    Page,
    Seconds,
    TenantId,
    Text,
    Whole,
)
from admin_api.schemas.receipt import ReceiptRecord
from relay.model import OnUnknown

ClientId = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
BatchCode = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
Status = Literal[
    "scheduled",
    "queued",
    "sending",
    "deferred",
    "sent",
    "partial",
    "failed",
    "cancelled",
    "suspended",
]
HeaderValue = str | int | float | None


# The first mail does not wait for it, nor do two threads work it out at once.
class Message(Model, defer_build=False):
    """A mail to send. The same `id` again replaces it while nobody has begun to send it."""

    id: ClientId
    """The client's own id, unique in the tenant; it comes back in every report."""
    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    account_id: Text | None = None
    """The account that it leaves by; without it, it is routed by the sender's domain."""
    sender: Text = Field(alias="from")
    """One mailbox, `a@b.example` or `Name <a@b.example>`."""
    to: str | list[str]
    """A list of mailboxes, or one text with commas between them; so are `cc`, `bcc` and `reply_to`.
    """
    cc: str | list[str] | None = None
    bcc: str | list[str] | None = None
    reply_to: str | list[str] | None = None
    return_path: Text | None = None
    """The envelope's sender where it is another than `from`; `<>` is the null sender."""
    subject: str
    body: str | None = None
    content_type: Literal["plain", "html"] = "plain"
    """What `body` is."""
    text: str | None = None
    """With `html` the two become multipart/alternative; goes before `body`."""
    html: str | None = None
    headers: dict[str, HeaderValue] | None = None
    """More header fields. Not those that this object has fields for, nor Sender, Received,
    Return-Path, DKIM-Signature, MIME-Version, Content-*, Resent-* and X-Pillarbox-*.
    """
    message_id: Text | None = None
    attachments: list[Attachment] | None = None
    inline: list[InlineImage] | None = None
    priority: Whole | Text | None = None
    """0 `immediate`, 1 `high`, 2 `medium`, 3 `low`; number or label."""
    deferred_ts: Annotated[Number, Field(ge=0)] | None = None
    """Not to be sent before (Unix seconds); at most a year ahead."""
    batch_code: BatchCode | None = None
    metadata: dict[str, object] | None = None
    """Comes back in every event; at most 8,192 bytes."""
    expires_in_s: Lifetime | None = None
    """Age at which it is given up."""
    max_attempts: Attempts | None = None
    """How often each recipient is tried before it is given up."""
    on_unknown: OnUnknown = OnUnknown.RETRY
    """What to do when the upstream's answer to the whole mail was lost: send again, or only report.
    """


class AddMessages(Model):
    messages: Annotated[list[Message], Field(max_length=1000)]
    default_priority: Whole | Text | None = None
    """For the messages that give none."""


class Rejection(Model):
    id: str | None
    reason: str
    detail: str | None = None
    """What is wrong with it, where the reason is `invalid payload`."""


class Queued(Model):
    id: str
    pk: str


class Added(Ok):
    queued: int
    rejected: list[Rejection]
    messages: list[Queued]


class RawQuery(Model):
    """The envelope of a mail whose bytes are the body."""

    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    sender: Text = Field(alias="from")
    """The envelope's sender; `<>` is the null sender."""
    to: list[Text]
    """May be repeated, or have commas."""
    account_id: Text | None = None
    id: ClientId | None = None
    priority: Text | None = None
    deferred_ts: Seconds | None = None
    batch_code: BatchCode | None = None
    expires_in_s: Annotated[float, Field(gt=0, le=HORIZON_S)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=10_000)] | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    metadata: str | None = None
    """A JSON object."""


class Selection(Model):
    """Which messages of a tenant."""

    tenant_id: TenantId
    active_only: bool = False
    """Only what is not final."""
    status: Status | None = None
    account_id: Text | None = None
    batch_code: Text | None = None
    recipient: Text | None = None
    since: Seconds | None = None
    """Accepted at or after (Unix seconds)."""
    until: Seconds | None = None
    """Accepted before (Unix seconds)."""


class ListQuery(Page, Selection):
    newest_first: bool = False
    """Begin with what was accepted last."""
    include_history: bool = False
    """With `history`: every event of each message."""


class ContentQuery(Model):
    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""


class RecipientRecord(Model):
    address: str
    status: str
    attempts: int
    code: int | None
    reply: str | None
    account_id: str | None
    next_attempt_ts: int | None


class Event(Model):
    seq: int
    event: str
    ts: float
    data: dict[str, object]


class Record(Model):
    pk: str
    id: str
    tenant_id: str
    tenant_name: str | None
    account_id: str | None
    priority: int
    batch_code: str | None
    status: Status
    deferred_ts: int | None
    sent_ts: int | None
    smtp_ts: int | None
    error_ts: int | None
    error: str | None
    reported_ts: int | None
    bounce_type: str | None
    bounce_code: str | None
    bounce_reason: str | None
    bounce_ts: int | None
    created_at: float
    updated_at: float
    message: dict[str, object]
    """As it was added, without its bodies."""
    metadata: dict[str, object] | None
    is_pec: bool
    recipients: list[RecipientRecord]
    history: list[Event] | None = None


class Attempt(Model):
    account_id: str
    started_at: float
    ended_at: float
    outcomes: list[dict[str, object]]


class FullRecord(Record):
    waiting_for: str | None
    attachments: list[AttachmentRecord]
    attempts: list[Attempt]
    events: list[Event]
    receipts: list[ReceiptRecord]
    """Of certified mail (PEC), in the order in which they came."""


class Records(Ok):
    messages: list[Record]
    next_cursor: str | None = None
