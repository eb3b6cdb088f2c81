"""The instance: its name, and the mailbox that bounces come to."""

from typing import Annotated

from pydantic import Field, StringConstraints

from admin_api.schemas.model import Flag, Model, Ok, Port, Text
from admin_api.schemas.suppression import BounceReturnPath

InstanceName = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
PollInterval = Annotated[int, Field(ge=1, le=86_400, strict=True)]


class InstanceChange(Model):
    """Only what is given is changed; null puts back the default."""

    name: InstanceName | None = None
    bounce_enabled: Flag | None = None
    bounce_imap_host: Text | None = None
    bounce_imap_port: Port | None = None
    bounce_imap_user: Text | None = None
    bounce_imap_password: Text | None = None
    bounce_imap_folder: Text | None = None
    bounce_imap_ssl: Flag | None = None
    bounce_poll_interval: PollInterval | None = None
    """Seconds."""
    bounce_return_path: BounceReturnPath | None = None
    """Domain, or address, that bounces come back to, of tenants that name none of their own."""


class BounceStatus(Model):
    """How reading the bounce mailbox goes. Times are Unix seconds."""

    last_ok_ts: float | None
    """When it was last seen to answer, to half a minute."""
    failures: int
    """Failed looks since."""
    failing_since_ts: float | None
    error: str | None
    next_look_ts: float | None


class InstanceOutput(Model):
    ok: bool = True
    name: str
    bounce_enabled: bool
    bounce_imap_host: str | None
    bounce_imap_port: int
    bounce_imap_user: str | None
    bounce_imap_folder: str
    bounce_imap_ssl: bool
    bounce_poll_interval: int
    bounce_return_path: str | None
    bounce_status: BounceStatus | None
    """null until the mailbox was looked into."""


class InstanceChanged(Ok):
    """The change is stored."""
