"""Tenants: who owns everything else."""

from base64 import b64decode
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from admin_api.schemas.model import (
    NUMBER_MAX,
    Attempts,
    Count,
    Flag,
    Lifetime,
    Model,
    Number,
    Ok,
    Page,
    Positive,
    TenantId,
    Text,
    Whole,
)
from admin_api.schemas.suppression import BounceReturnPath, SuppressionSetting
from relay.attachments.offload.policy import read_policy
from relay.model import DsnWish

LIVE_SECRETS = 2
SECRET_MIN_BYTES = 24  # Standard Webhooks 1.0, "Signature scheme"
SECRET_MAX_BYTES = 64


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL with http:// or https:// is expected")
    if parts.username or parts.password:
        raise ValueError("a login belongs in client_auth, not in the URL")
    return text


def _webhook_secrets(text: str) -> str:
    secrets = text.replace(",", " ").split()
    if not 1 <= len(secrets) <= LIVE_SECRETS:
        raise ValueError("one secret is expected, or two while it changes")
    for secret in secrets:
        try:
            key = b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise ValueError("base64 is expected, with or without whsec_ before it") from None
        if not SECRET_MIN_BYTES <= len(key) <= SECRET_MAX_BYTES:
            raise ValueError(f"{SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} bytes are expected")
    return text


Url = Annotated[Text, AfterValidator(_http_url)]
KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
WebhookSecrets = Annotated[Text, AfterValidator(_webhook_secrets)]


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
    """What to do with files that are larger than `max_size_mb` (10)."""

    enabled: Flag | None = None
    max_size_mb: Annotated[Whole | Number, Field(gt=0, le=1_000_000)] | None = None
    storage_url: Annotated[str, Field(max_length=8192)] | None = None
    """Where to put them: `s3://bucket/folder`, `gs://…`, `az://…` or `file:///folder`. A login in
    it is never shown. Only the admin may set another.
    """
    public_base_url: Url | None = None
    """Where people reach this relay: links to `file://`, and links that last longer than a cloud
    signs for, begin with it.
    """
    file_ttl_days: Annotated[Whole | Number, Field(gt=0, le=36_500)] | None = None
    """How long they are kept (30)."""
    action: Literal["warn", "reject", "rewrite"] | None = None
    """`warn` sends the mail and notes it, `reject` refuses it, `rewrite` sends links instead."""

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if self.enabled or self.storage_url:
            read_policy(self.model_dump(exclude_none=True))
        return self


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
    bounce_return_path: BounceReturnPath | None = None
    """Domain, or address, that bounces come back to: the envelope's sender of outgoing mail becomes
    a signed address there. Without it, the instance's; where that is absent too, it stays.
    """
    dsn: DsnWish | None = None
    """For which mail senders are notified by mail: auto (the default) of what came by SMTP, unless
    there is a client_base_url; smtp; always; never.
    """
    suppression: SuppressionSetting | None = None
    """How long an address that bounced for good, or complained, is not written to: `off`,
    `forever`, or days such as `30d`, which is the default.
    """
    max_attempts: Attempts | None = None
    """How often mail is tried, where neither it nor the account it names says so."""
    expires_in_s: Lifetime | None = None
    """Age at which mail is given up, likewise."""


class TenantFields(TenantSettings):
    rate_limits: RateLimits | None = None
    large_file_config: LargeFileConfig | None = None
    client_auth: ClientAuth | None = None
    callback_secret: WebhookSecrets | None = None
    """Signs reports per Standard Webhooks: base64 of 24 to 64 bytes, `whsec_` before it or not. Two
    with a space between them sign both, while the secret changes.
    """


class TenantInput(TenantFields):
    """A tenant, whole: what is left out gets its default."""

    id: TenantId
    api_key_hash: KeyHash | None = None
    """SHA-256 (hex) of the key that a new tenant has elsewhere: it is kept, and none is made."""
    api_key_expires_at: Annotated[Number, Field(gt=0, le=NUMBER_MAX)] | None = None
    """When that key ends (Unix seconds); without it, never."""


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


class TenantSync(Model):
    id: str
    name: str
    active: bool
    client_base_url: str | None
    last_sync_ts: int | None
    """When it last took a call."""
    next_sync_due: bool
    in_dnd: bool
    """It asked not to be called for a while; what happens is reported all the same."""


class SyncStatus(Ok):
    tenants: list[TenantSync]
    sync_interval_seconds: int


class TenantMade(Ok):
    api_key: str | None = None
    """The key of a new tenant: it is shown this once."""


class DeleteTenantQuery(Model):
    force: bool = False
    """Destroy mail that is not sent yet, too."""
    dry_run: bool = False
    """Only say what would be destroyed."""


class TenantDestroyed(Ok):
    destroyed: dict[str, int]
    """Numbers of messages, queued (of them), unreported_events, accounts, credentials, receipts."""
    dry_run: bool | None = None


class KeyInput(Model):
    expires_at: Annotated[Number, Field(gt=0, le=NUMBER_MAX)] | None = None
    """When the key ends (Unix seconds); without it, never."""
    grace_s: Annotated[Number, Field(ge=0, le=2_592_000)] | None = None
    """How long the earlier key still works; without it, not at all."""


class KeyMade(Ok):
    api_key: str
    """It is shown this once."""
    expires_at: float | None = None


class KeysRevoked(Ok):
    revoked: int
