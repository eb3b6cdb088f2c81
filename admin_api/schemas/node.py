"""A node: whether it lives, whether it can take mail, how it is."""

from admin_api.schemas.model import Model, TenantId


class Alive(Model):
    status: str


class Trouble(Model):
    """An account that rests, and until when."""

    tenant_id: str
    account_id: str
    reason: str
    until: float


class MailboxTrouble(Model):
    """A mailbox that cannot be read; the instance's own has neither tenant nor account."""

    tenant_id: str | None
    account_id: str | None
    reason: str
    since: float
    last_ok_ts: float | None
    until: float


class Listening(Model):
    service: str
    """http, smtp or smtps."""
    address: str


class NodeFacts(Model):
    """What only the admin token is told of a node."""

    instance: str
    database: str
    """sqlite or postgresql."""
    now: float
    """The time of the database (Unix seconds)."""
    listening: list[Listening]


class Status(Model):
    ok: bool
    active: bool
    version: str
    node: str
    queue: dict[str, int] | None = None
    """Recipients by state, of the whole instance; for the admin token only."""
    accounts_in_trouble: list[Trouble]
    mailboxes_in_trouble: list[MailboxTrouble]
    facts: NodeFacts | None = None
    """For the admin token only."""


class WakeQuery(Model):
    tenant_id: TenantId | None = None
