"""The words of Pillarbox as values.

Everything that one stage hands to another through the store or a constructor is one of these. They
are frozen, hold no connection and read no clock. Times are Unix seconds (UTC) as float; sizes are
bytes.
"""

import random
from dataclasses import field
from enum import IntEnum, StrEnum

from relay.value import frozen


class Priority(IntEnum):
    IMMEDIATE = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class State(StrEnum):
    """Where one recipient of a message stands.

    QUEUED is due now; DEFERRED waits for `due_at`; SENDING is leased to a node; SUSPENDED is held
    by its tenant.
    """

    QUEUED = "queued"
    DEFERRED = "deferred"
    SUSPENDED = "suspended"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BOUNCED = "bounced"


FINAL_STATES = frozenset({State.SENT, State.FAILED, State.CANCELLED, State.BOUNCED})


class OnUnknown(StrEnum):
    """What to do when the upstream's answer to the final dot was lost (RFC 1047)."""

    RETRY = "retry"
    REPORT = "report"


class Ingress(StrEnum):
    """How a mail came in; DSN is one that this relay wrote itself (RFC 3464)."""

    SMTP = "smtp"
    REST = "rest"
    DSN = "dsn"


class DsnWish(StrEnum):
    """For which mail a tenant's senders get delivery status notifications.

    AUTO: what came by SMTP, unless the tenant is called back. SMTP: what came by SMTP, in any case.
    """

    AUTO = "auto"
    SMTP = "smtp"
    ALWAYS = "always"
    NEVER = "never"


class TlsMode(StrEnum):
    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class LimitBehavior(StrEnum):
    DEFER = "defer"
    REJECT = "reject"


class AccountKind(StrEnum):
    SMTP = "smtp"
    CAPTURE = "capture"


class Verdict(StrEnum):
    """What one attempt meant for one recipient."""

    SENT = "sent"
    FAILED = "failed"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"


def new_pk(now: float) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7, §6.2 method 3): it sorts by time, to a quarter of a
    microsecond.
    """
    ticks = int(now * 4_096_000)
    value = (ticks >> 12 & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64
    # It has to be unique, not secret: whose it is decides who may see it.
    value |= 0b10 << 62 | random.getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@frozen
class Tenant:
    """`damaged` names the sealed settings that are stored and cannot be read."""

    id: str
    name: str
    active: bool = True
    weight: int = 1
    client_base_url: str | None = None
    client_sync_path: str | None = None
    client_attachment_path: str | None = None
    client_auth: dict[str, str] | None = field(default=None, repr=False)
    callback_secret: str | None = field(default=None, repr=False)
    rate_limits: dict[str, int] | None = None
    large_file_config: dict[str, object] | None = field(default=None, repr=False)
    keep_content_days: float | None = None
    bounce_return_path: str | None = None
    dsn: DsnWish | None = None
    suppression: str | None = None
    max_attempts: int | None = None
    expires_in_s: float | None = None
    suspended_batches: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    created_at: float = 0.0
    updated_at: float = 0.0


@frozen
class Account:
    """One upstream server of a tenant. `version` grows with each change of what a connection
    depends on. `is_damaged`: its password is stored and cannot be read.
    """

    tenant_id: str
    id: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool | None = None
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    tls_given: bool = False
    verify: bool = True
    ca_file: str | None = None
    kind: AccountKind = AccountKind.SMTP
    ttl: int = 300
    limit_per_minute: int | None = None
    limit_per_hour: int | None = None
    limit_per_day: int | None = None
    limit_behavior: LimitBehavior = LimitBehavior.DEFER
    batch_size: int | None = None
    max_connections: int = 5
    max_messages_per_connection: int = 100
    weight: int = 1
    rank: int = 0
    sender_domains: tuple[str, ...] = ()
    rewrite_from: str | None = None
    is_pec_account: bool = False
    imap_host: str | None = None
    imap_port: int | None = None
    imap_user: str | None = None
    imap_password: str | None = field(default=None, repr=False)
    imap_folder: str | None = None
    imap_ssl: bool | None = None
    max_attempts: int | None = None
    expires_in_s: float | None = None
    version: int = 1
    is_damaged: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant_id, self.id

    @property
    def is_limited(self) -> bool:
        return bool(self.limit_per_minute or self.limit_per_hour or self.limit_per_day)


class SecretKind(StrEnum):
    """How a credential's password is stored: ours are random (SHA-256 is enough), people's
    are not.
    """

    SHA256 = "sha256"
    ARGON2ID = "argon2id"


@frozen
class Credential:
    """An SMTP login of a tenant. `secret_hash` is hex of SHA-256, or an argon2 string."""

    username: str
    tenant_id: str
    secret_kind: SecretKind
    secret_hash: str = field(repr=False)
    senders: tuple[str, ...] = ("*",)
    accounts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    legacy: bool = False
    active: bool = True
    created_at: float = 0.0


@frozen
class Recipient:
    """One envelope recipient. `n` is its place in the message; `notify` and `orcpt` are as given
    (RFC 3461).
    """

    n: int
    address: str
    notify: str | None = None
    orcpt: str | None = None


@frozen
class Envelope:
    """`sender` is "" for the null reverse-path. `ret` and `envid` are as given by the client (RFC
    3461).
    """

    sender: str
    recipients: tuple[Recipient, ...]
    ret: str | None = None
    envid: str | None = None


@frozen
class ContentTraits:
    """What the bytes of a mail need from an upstream: 8BITMIME, SMTPUTF8 headers, long lines (RFC
    5322 §2.1.1).

    `is_dotless`: no line begins with a dot. It is known of mail that has just come in, and not
    stored.
    """

    has_8bit: bool = False
    has_utf8_headers: bool = False
    longest_line: int = 0
    is_dotless: bool = False


class FetchMode(StrEnum):
    """How a file of a mail is got."""

    BASE64 = "base64"
    HTTP_URL = "http_url"
    FILESYSTEM = "filesystem"
    ENDPOINT = "endpoint"


@frozen
class NewAttachment:
    """A file of a new mail. `source` is None where the content has it already; then `size_bytes` is
    known. While it is missing, `from_end_bytes` of the content follow its place. `auth` is a login
    as JSON, sealed. `md5` is what the client says it is (hex).
    """

    n: int
    mode: FetchMode
    filename: str
    mime_type: str
    disposition: str
    content_id: str | None = None
    source: str | None = None
    auth: str | None = field(default=None, repr=False)
    md5: str | None = None
    from_end_bytes: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None


@frozen
class NewMail:
    """A mail that passed every rule and is to be stored: what `store.queue.accept` takes.

    `content` is the whole mail, CRLF line ends, dots not stuffed. `lane` says which accounts may
    carry it (see `lane_of`). `due_at` is None when it is due now. `record` is the JSON object shown
    in listings. `keeps_sender`: no return address of ours takes the place of its sender.
    `takes_suppressed`: it is stored even where none of its recipients is written to. `is_prepared`
    is False where the content is not yet what will be sent. At `late_at` it is to be told of if it
    is not delivered (RFC 2852); `repairs` names what was put right in how it was handed over.
    """

    pk: str
    id: str
    tenant_id: str
    account_id: str | None
    lane: str
    priority: Priority
    envelope: Envelope
    content: bytes
    traits: ContentTraits
    ingress: Ingress
    accepted_at: float
    due_at: float | None = None
    expires_at: float | None = None
    max_attempts: int | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    batch_code: str | None = None
    message_id: str | None = None
    metadata: str | None = None
    record: str = "{}"
    is_pec: bool = False
    id_given: bool = True
    keeps_sender: bool = False
    takes_suppressed: bool = False
    attachments: tuple[NewAttachment, ...] = ()
    is_prepared: bool = True
    late_at: float | None = None
    repairs: tuple[str, ...] = ()


@frozen
class Pending:
    """One recipient inside a delivery; `attempts` counts those already made, `faults` those that
    ended in a row by a fault of our own.
    """

    n: int
    address: str
    attempts: int = 0
    unknowns: int = 0
    notify: str | None = None
    orcpt: str | None = None
    faults: int = 0


@frozen
class Delivery:
    """A leased portion of a message: its due recipients, to be offered together to one account.

    `epoch` is the fence of the lease. `is_begun`: it is stored that an upstream may have it.
    `content` is None where the body was left in the store
    (`store.queue.content` brings it). `is_prepared` is False where it is not yet what will be sent.
    """

    epoch: int
    pk: str
    id: str
    tenant_id: str
    account_id: str | None
    lane: str
    priority: int
    sender: str
    pending: tuple[Pending, ...]
    traits: ContentTraits
    size_bytes: int
    accepted_at: float
    ret: str | None = None
    envid: str | None = None
    expires_at: float | None = None
    max_attempts: int | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    batch_code: str | None = None
    metadata: str | None = None
    keeps_sender: bool = False
    is_prepared: bool = True
    is_begun: bool = False
    content: bytes | None = field(default=None, repr=False)
    ingress: Ingress = Ingress.REST


@frozen
class Outcome:
    """What the upstream said of one recipient; `code` is 0 where it said nothing.

    `enhanced` is the RFC 3463 code, where the reply had one. `reply` is printable and at most 1,000
    characters. `phase` is the command that was answered: connect, mail, rcpt, data, dot; or what
    went wrong before: relay, where this relay itself refused, or attachments. `is_untold`: the
    upstream took it but will not report its delivery, which the sender asked for (RFC 3461 §5.2.2).
    """

    n: int
    verdict: Verdict
    code: int
    enhanced: str | None
    reply: str
    phase: str
    is_untold: bool = False


def lane_of(tenant_id: str, account_id: str | None, sender_domain: str) -> str:
    """Name the queue a mail stands in: one for each account named, one for each sender domain
    routed.

    A mail whose account is named may leave by that account only; a routed one by any that its
    sender's domain may use. Mail of one lane is therefore interchangeable to the dispatcher. A
    tenant's id has no slash, so no two lanes share a name.
    """
    return f"{tenant_id}/@{sender_domain}" if account_id is None else f"{tenant_id}/={account_id}"
