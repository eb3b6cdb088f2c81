"""Credentials: the SMTP logins of a tenant."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from admin_api.schemas.model import Flag, Model, Ok, TenantId, Text
from relay.errors import Refused
from relay.formats.address import mailbox

ANY = "*"


def _sender(text: str) -> str:
    """Check `*`, an address, `*@acme.example` or `*@*.acme.example`."""
    if text == ANY:
        return text
    local, at, domain = text.rpartition("@")
    plain = f"{'a' if local == ANY else local}@{domain.removeprefix('*.')}"
    try:
        mailbox(plain, smtputf8=True)
    except Refused as refused:
        raise ValueError(f"*, an address or *@domain expected: {refused}") from None
    return f"{local}{at}{domain}".lower()


def _network(text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)
    if not network.prefixlen:
        raise ValueError("the whole internet is no network")
    return str(network)


Username = Annotated[
    Text, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s/+](?:[^+]*[^\s+])?$")
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=1024, pattern=r"^[^\x00]+$")]
Sender = Annotated[str, AfterValidator(_sender)]
Network = Annotated[str, AfterValidator(_network)]


class CredentialSettings(Model):
    username: Username
    """Unique in the instance; no `+`, which separates the account in `user+account`."""
    senders: list[Sender] = Field(default_factory=lambda: [ANY])
    accounts: list[Text] = Field(default_factory=list)
    """The accounts it may send by; empty: all of the tenant's."""
    networks: list[Network] = Field(default_factory=list)
    """Networks (CIDR) that need no password, for printers and scanners; one that is not private is
    warned about, and an address that another tenant's network covers too is nobody's.
    """
    legacy: Flag = False
    """Repair what old devices say: bare LF, no angle brackets, no name in HELO."""
    active: Flag = True


class CredentialInput(CredentialSettings):
    """A login, whole: what is left out gets its default, and a new password is made."""

    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    password: Password | None = None


class CredentialOutput(CredentialSettings):
    tenant_id: str
    created_at: float


class CredentialMade(Ok):
    username: str
    password: str | None = None
    """The password that we made: it is shown this once."""


class Credentials(Ok):
    credentials: list[CredentialOutput]
    next_cursor: str | None = None
