"""The log of commands."""

from typing import Literal

from admin_api.schemas.model import Model, Ok, Page, Seconds, TenantId, Text


class CommandSelection(Model):
    tenant_id: TenantId | None = None
    caller: Literal["admin", "tenant"] | None = None
    method: Literal["POST", "PUT", "DELETE"] | None = None
    route: Text | None = None
    """As it is documented, with its parameters in braces."""
    since: Seconds | None = None
    """Done at or after (Unix seconds)."""
    until: Seconds | None = None
    """Done before (Unix seconds)."""


class CommandQuery(Page, CommandSelection):
    """Which commands, and how many at a time."""


class CommandOutput(Model):
    id: str
    ts: float
    caller: str
    """admin or tenant."""
    tenant_id: str | None
    """Whom it was about, as far as that is known."""
    method: str
    route: str
    target: str | None
    """What stood in the place of the route's parameters."""
    status: int


class Commands(Ok):
    commands: list[CommandOutput]
    next_cursor: str | None = None
