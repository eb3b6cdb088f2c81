"""Events: what delivery reports carry, for those who ask instead of being called."""

from typing import Annotated

from pydantic import Field

from admin_api.schemas.model import Cursor, Limit, Model, OfTenant, Ok

EventId = Annotated[str, Field(max_length=300)]


class EventsQuery(OfTenant):
    after: Cursor | None = None
    """`next_after` of the answer before; without it, from the first event that is kept."""
    limit: Limit = 1000


class ParkedQuery(OfTenant):
    limit: Limit = 1000
    cursor: Cursor | None = None
    """`next_cursor` of the page before."""


class ReportEntry(Model):
    """What happened to one recipient. Besides the id, the time says what it was: `sent_ts`, or
    `error_ts` with `error`, or `deferred_ts` with `deferred_reason`, or `bounce_ts` with
    `bounce_type`, `bounce_code` and `bounce_reason`, or `pec_ts` with `pec_event` and
    `pec_details`.
    """

    id: str
    sent_ts: int | None = None
    error_ts: int | None = None
    error: str | None = None
    deferred_ts: int | None = None
    deferred_reason: str | None = None
    bounce_ts: int | None = None
    bounce_type: str | None = None
    """hard: the address will never work; soft: it may work later; block: policy or reputation."""
    bounce_code: str | None = None
    """The status code (RFC 3463), else the reply code."""
    bounce_reason: str | None = None
    pec_event: str | None = None
    """pec_acceptance, pec_relay, pec_delivery, pec_error or pec_timeout (certified mail)."""
    pec_ts: int | None = None
    """When it was certified; of a timeout, when it was noticed."""
    pec_details: str | None = None
    receipt_type: str | None = None
    """The receipt's kind, in the norm's word."""
    receipt: int | None = None
    """Its number, to download it by."""
    pk: str | None
    """Null for a message that was rejected."""
    tenant_id: str
    event_id: str
    """The same at every delivery."""
    seq: int
    recipient: str | None
    metadata: dict[str, object] | None
    account_id: str | None
    code: int | None
    possible_duplicate: bool | None = None


class Events(Ok):
    events: list[ReportEntry]
    next_after: str | None
    """Where to go on, now or later; null while there was never an event."""


class ParkedEvents(Ok):
    events: list[ReportEntry]
    next_cursor: str | None = None


class Replay(Model):
    event_ids: Annotated[list[EventId], Field(max_length=10_000)] | None = None
    """Which; without it, all that are parked."""


class Replayed(Ok):
    replayed: int
