"""Tenants: who owns everything else."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from admin_api.schemas.model import (
    Count,
    Flag,
    Model,
    Number,
    Ok,
    Page,
    Positive,
    TenantId,
    Text,
    Whole,
)


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL with http:// or https:// is expected")
    if parts.username or parts.password:
        raise ValueError("a login belongs in client_auth, not in the URL")
    return text


Url = Annotated[Text, AfterValidator(_http_url)]


class ClientAuth(Model):
    """How we log in at the client's callback."""

    method: Literal["none", "bearer", "basic"] = "none"
    token: Text | None = None
    user: Text | None = None
    password: Text | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = {"none": (), "bearer": ("token",), "basic": ("user", "password")}[self.method]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"Field required: {', '.join(missing)}")
        return self


class ShownAuth(Model):
    """The login without its secrets."""

    method: str
    user: str | None = None


class RateLimits(Model):
    hourly: Count | None = None
    daily: Count | None = None


class LargeFileConfig(Model):
    enabled: Flag | None = None
    max_size_mb: Annotated[Whole | Number, Field(gt=0)] | None = None
    storage_url: Text | None = None
    public_base_url: Text | None = None
    file_ttl_days: Annotated[Whole | Number, Field(gt=0)] | None = None
    action: Literal["warn", "reject", "rewrite"] | None = None


class TenantSettings(Model):
    """What is taken and shown alike."""

    name: Text | None = None
    active: Flag = True
    """false stops intake, sending and login; nothing is lost."""
    client_base_url: Url | None = None
    client_sync_path: Text | None = None
    client_attachment_path: Text | None = None
    weight: Positive = 1
    """Share of the sending among tenants."""
    keep_content_days: Annotated[Number, Field(ge=0, le=36_500)] | None = None
    bounce_return_path: Text | None = None
    dsn: Text | None = None
    suppression: Text | None = None


class TenantFields(TenantSettings):
    rate_limits: RateLimits | None = None
    large_file_config: LargeFileConfig | None = None
    client_auth: ClientAuth | None = None
    callback_secret: Text | None = None


class TenantInput(TenantFields):
    """A tenant, whole: what is left out gets its default."""

    id: TenantId


class TenantChange(TenantFields):
    """Only what is given is changed."""


class TenantOutput(TenantSettings):
    id: str
    name: str
    client_auth: ShownAuth | None
    large_file_config: dict[str, object] | None
    rate_limits: dict[str, int] | None
    suspended_batches: list[str]
    created_at: float
    updated_at: float


class TenantsQuery(Page):
    active_only: bool = False


class Tenants(Ok):
    tenants: list[TenantOutput]
    next_cursor: str | None = None


class TenantMade(Ok):
    api_key: str | None = None
    """The key of a new tenant: it is shown this once."""
