"""Suppressions: addresses that a tenant does not write to any more."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from admin_api.schemas.model import (
    NUMBER_MAX,
    Model,
    Number,
    OfTenant,
    Ok,
    TenantId,
    TenantPage,
    Text,
)
from relay.errors import Refused
from relay.formats import verp
from relay.formats.address import mailbox
from relay.store.suppressions import SETTING

REASON_MAX_CHARS = 1000


def _mailbox(text: str) -> str:
    try:
        return mailbox(text, smtputf8=True)
    except Refused as refused:
        raise ValueError(str(refused)) from None


def _return_path(text: str) -> str:
    try:
        if text:
            verp.return_path(text)
    except Refused as refused:
        raise ValueError(f"a domain or an address is expected: {refused}") from None
    return text


def _setting(text: str) -> str:
    if SETTING.fullmatch(text) is None:
        raise ValueError("off, forever or a number of days such as 30d is expected")
    return text


Address = Annotated[Text, AfterValidator(_mailbox)]
BounceReturnPath = Annotated[Text, AfterValidator(_return_path)]
SuppressionSetting = Annotated[Text, AfterValidator(_setting)]
Reason = Annotated[Text, StringConstraints(min_length=1, max_length=REASON_MAX_CHARS)]


class SuppressionInput(Model):
    """An address that is not to be written to; one that stands already is replaced."""

    tenant_id: TenantId | None = None
    """May be left out with a tenant's key."""
    address: Address
    reason: Reason | None = None
    until: Annotated[Number, Field(gt=0, le=NUMBER_MAX)] | None = None
    """When it ends (Unix seconds); without it, never."""


class SuppressionsQuery(TenantPage):
    address: Text | None = None
    """Only this address, in any case."""


class SuppressionQuery(OfTenant):
    address: Text


class SuppressionOutput(Model):
    address: str
    """In lower case: case does not count."""
    reason: str | None
    """What the other server said, or who entered it."""
    source: Literal["bounce", "complaint", "manual"]
    since: float
    until: float | None


class SuppressionMade(Ok):
    address: str
    until: float | None


class Suppressions(Ok):
    suppressions: list[SuppressionOutput]
    next_cursor: str | None = None
