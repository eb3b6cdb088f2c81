"""Suspending and activating batches."""

from admin_api.schemas.message import BatchCode
from admin_api.schemas.model import Model, TenantId


class BatchQuery(Model):
    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    batch_code: BatchCode | None = None
    """Without it, or with `*`, all mail of the tenant is meant."""


class BatchStanding(Model):
    ok: bool = True
    tenant_id: str
    batch_code: str | None = None
    """As it was asked for; absent where all mail was meant."""
    suspended_batches: list[str]
    """What is suspended now; exactly `["*"]` where all is."""
    pending_messages: int
    """Messages, of the batch or of all, that are not final."""
