"""Accounts: the upstream servers of a tenant."""

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from admin_api.schemas.model import (
    Attempts,
    Count,
    Flag,
    Lifetime,
    Model,
    Name,
    Ok,
    Port,
    Positive,
    TenantId,
    Text,
)
from relay.errors import Refused
from relay.formats.address import domain_of, mailbox
from relay.model import AccountKind, LimitBehavior, TlsMode

CAPTURE_HOST = "localhost"
CAPTURE_PORT = 25


def _domain(text: str) -> str:
    try:
        return domain_of(mailbox(f"a@{text}", smtputf8=True))
    except Refused as refused:
        raise ValueError(str(refused)) from None


def _address(text: str) -> str:
    try:
        return mailbox(text, smtputf8=True)
    except Refused as refused:
        raise ValueError(str(refused)) from None


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return _domain(text)


Host = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_host)]
Domain = Annotated[str, AfterValidator(_domain)]
Address = Annotated[str, AfterValidator(_address)]
Secret = Annotated[str, StringConstraints(max_length=1024)]


class AccountSettings(Model):
    """What is taken and shown alike: all of an account but its secrets."""

    id: Name
    host: Host = CAPTURE_HOST
    """A name or an address; may be left out only by an account of kind `capture`, as may `port`."""
    port: Port = CAPTURE_PORT
    user: Text | None = None
    use_tls: Flag | None = None
    """null: implicit TLS on 465, STARTTLS required when there is a `user`, else used where offered.
    true: implicit on 465, else STARTTLS required. false: in clear.
    """
    tls: TlsMode | None = None
    """Goes before `use_tls`."""
    verify: Flag = True
    """Check the server's certificate."""
    ca_file: Text | None = None
    kind: AccountKind = AccountKind.SMTP
    """`capture` delivers nowhere: the mail is kept for looking at."""
    ttl: Positive = 300
    limit_per_minute: Count | None = None
    limit_per_hour: Count | None = None
    limit_per_day: Count | None = None
    limit_behavior: LimitBehavior = LimitBehavior.DEFER
    batch_size: Positive | None = None
    max_connections: Positive = 5
    max_messages_per_connection: Positive = 100
    weight: Positive = 1
    """Share of the mail among the accounts of one rank."""
    rank: Count = 0
    """The lowest is tried first."""
    sender_domains: list[Domain] = Field(default_factory=list)
    """The senders' domains that it carries when no account is named; empty: all."""
    rewrite_from: Address | None = None
    max_attempts: Attempts | None = None
    """How often its mail is tried, where the mail does not say; a tenant's applies after this."""
    expires_in_s: Lifetime | None = None
    """Age at which its mail is given up, likewise."""
    is_pec_account: Flag = False
    imap_host: Host | None = None
    imap_port: Port | None = None
    imap_user: Text | None = None
    imap_folder: Text | None = None
    imap_ssl: Flag | None = None


class AccountInput(AccountSettings):
    """An account, whole: what is left out gets its default, a password too."""

    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    password: Secret | None = None
    imap_password: Secret | None = None

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.kind is AccountKind.SMTP:
            missing = {"host", "port"} - self.model_fields_set
            if missing:
                raise ValueError(f"Field required: {', '.join(sorted(missing))}")
        return self


class AccountOutput(AccountSettings):
    tenant_id: str
    tls: TlsMode
    """In effect."""
    created_at: float
    updated_at: float


class VerifyStep(Model):
    step: str
    """`connect`, `ehlo`, `tls`, `auth`, in the order in which they are taken."""
    ok: bool | None
    """null where the step was not taken: it is not asked for, or an earlier one failed."""
    detail: str


class Verified(Ok):
    """`ok` is false when a step failed."""

    steps: list[VerifyStep]


class Accounts(Ok):
    accounts: list[AccountOutput]
    next_cursor: str | None = None
