"""Orders for messages that are stored."""

from typing import Annotated

from pydantic import Field

from admin_api.schemas.message import ClientId, Selection
from admin_api.schemas.model import Model, OfTenant, Ok, Seconds

MOST_IDS = 1000
MOST_SHOWN = 1000

Ids = Annotated[list[ClientId], Field(max_length=MOST_IDS)]


class OrderQuery(Selection):
    """The filters of GET /messages, for those who give no ids."""

    dry_run: bool = False
    """Only say what would be done."""


class OrderIds(Model):
    ids: Ids | None = None
    """Messages, by the client's id or by pk, at most 1000; without them the filters say which."""


class DeleteQuery(OfTenant):
    dry_run: bool = False
    """Only say what would be done."""


class DeleteIds(Model):
    ids: Ids
    """Messages, by the client's id or by pk, at most 1000."""


class Skipped(Model):
    id: str
    pk: str
    reason: str


class Ordered(Ok):
    count: int
    """Messages that were changed, or would be."""
    skipped_count: int
    skipped: list[Skipped]
    """The first 1000 of those that were passed over, and why."""
    not_found: list[str] | None = None
    dry_run: bool | None = None


class Removed(Ok):
    removed: int
    skipped: list[Skipped] | None = None
    """Those that were passed over, and why."""
    not_found: list[str] | None = None
    dry_run: bool | None = None


class CleanupBody(Model):
    older_than_seconds: Seconds | None = None
    """Age since the end of a message; without it, the retention of the instance."""


class CleanedUp(Ok):
    removed: int
