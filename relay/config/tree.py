"""The settings as one frozen tree: each key, its type, its default and what it does.

The text under a field is its line in `conf/pillarbox.toml` and in the documentation. A field
without a default is derived from others when it is not given (`relay.config.load`), so those who
read the tree never meet a None that means "work it out".
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from relay.config.values import (
    Address,
    Compat,
    Count,
    DatabaseUrl,
    Days,
    EncryptionKeys,
    FaultCount,
    FirstAndLongest,
    FolderName,
    Handled,
    HostName,
    Hours,
    InstanceName,
    Listen,
    ListenAddress,
    ListenAddresses,
    LogFormat,
    LogLevel,
    LookDays,
    Networks,
    Paths,
    RecipientCount,
    ReportCount,
    Roots,
    Seconds,
    SecondsOrZero,
    Share,
    Size,
    Suppressed,
    Token,
    UpToMebibyte,
    Waits,
    sqlite_path,
)


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        # As a part of the tree a section needs no validator of its own.
        defer_build=True,
    )


class Database(Section):
    url: DatabaseUrl
    """sqlite:<path> or postgresql://user@host/name; empty: pillarbox.db in the instance folder."""
    pool_size: Count = 10
    """Connections a node keeps to PostgreSQL; SQLite has one."""
    command_timeout_s: Seconds = 15
    """Longest wait for one statement; after it the store counts as unavailable."""
    reserve_bytes: Size = 33554432
    """Kept beside SQLite's file, and given up for results when its disk is full; 0: nothing."""

    @property
    def sqlite_path(self) -> Path | None:
        """The file of the embedded database, None for PostgreSQL."""
        path = sqlite_path(self.url.get_secret_value())
        return None if path is None else Path(path)


class Http(Section):
    listen: ListenAddress = Listen("127.0.0.1", 8000)
    """Address of REST, /metrics and the dashboard."""
    api_token: Token | None = None
    """The admin token; empty: made at the first start and kept in the instance folder."""
    max_body_bytes: Count
    """Largest request; empty: 1.4 x limits.max_message_bytes + 65536 (base64, JSON)."""
    metrics_token: Token | None = None
    """Bearer token that GET /metrics asks for; empty: none."""


class Smtp(Section):
    listen: ListenAddresses = (Listen("127.0.0.1", 2525),)
    """Addresses for SMTP, a list or comma separated; STARTTLS where a certificate is set."""
    tls_listen: ListenAddresses = ()
    """Addresses for SMTP inside TLS (RFC 8314), usually port 465."""
    tls_cert: Path | None = None
    """Certificate chain (PEM); read again when the file changes."""
    tls_key: Path | None = None
    """Private key of the certificate (PEM)."""
    more_certs: Paths = ()
    """More certificates (PEM, chain and key in one file), chosen by the name asked for (SNI)."""
    old_tls_listen: ListenAddresses = ()
    """Those of the addresses above that speak TLS 1.0 and 1.1 too, for devices of old."""
    proxy_networks: Networks = ()
    """Load balancers: connections from them begin with a PROXY header (version 1 or 2)."""
    require_tls: bool | None = None
    """Neither offer nor accept AUTH in clear; empty: true, except on loopback addresses."""
    hostname: HostName
    """Name in the greeting and in Received; empty: the name of this machine."""
    max_connections: Count = 100
    """Connections at once; one more is answered 421."""
    max_connections_per_ip: Count = 10
    """Connections at once from one address; loopback is exempt, all local applications share it."""
    max_messages_per_connection: Size = 0
    """Mails in one connection before the next MAIL is answered 421; 0: any."""
    max_receiving_bytes: Count
    """Content received at once; more is answered 452; empty: 10 x limits.max_message_bytes."""
    max_recipients: RecipientCount = 100
    """Recipients of one mail, at most 1000; one more is answered 452 4.5.3."""
    max_header_bytes: Count = 102400
    """Largest header block of a mail."""
    max_header_fields: Count = 1000
    """Most header fields of a mail."""
    idle_timeout_s: Seconds = 300
    """Longest silence of a client between commands (RFC 5321 §4.5.3.2.7: at least 5 minutes)."""
    session_timeout_s: Seconds = 3600
    """Longest life of a connection."""
    min_rate_bytes_s: Size = 500
    """Slowest pace of a mail's content, checked after the grace; 0: any."""
    min_rate_grace_s: SecondsOrZero = 30
    """Time before the pace of a mail's content is checked."""
    max_commands: Count = 1000
    """Commands in one connection that bring no mail further."""
    max_errors: Count = 10
    """Refused commands in one connection before it is closed with 421."""
    max_auth_failures: Count = 3
    """Failed logins in one connection before it is closed with 421."""
    max_hops: Count = 50
    """Received fields in a mail; more means a loop (RFC 5321 §6.3)."""
    auth_cache_s: SecondsOrZero = 60
    """How long a password that was verified is known without hashing it again; 0: never."""
    suppressed: Suppressed = "reject"
    """A suppressed recipient: reject at RCPT (550 5.7.1), or accept and fail it with an event."""

    def needs_tls(self, listen: Listen) -> bool:
        """Whether AUTH on this address waits for TLS."""
        return not listen.is_loopback if self.require_tls is None else self.require_tls


class Limits(Section):
    max_message_bytes: Count = 26214400
    """Largest mail: SIZE in SMTP, content in REST, attachments after fetching."""
    min_free_disk_bytes: Size = 104857600
    """Free space under which new mail is answered 452 4.3.1."""
    max_waiting_per_tenant: Size = 0
    """Messages of one tenant that are not final; more is answered 452 4.3.1 or 429; 0: any."""
    max_waiting_bytes_per_tenant: Size = 0
    """Bytes of one tenant's messages that are not final; more is answered alike; 0: any."""
    auth_wait_s: FirstAndLongest = (0.5, 30)
    """First and longest wait of a user after failed logins, from one address; it doubles."""
    max_auth_names_per_ip: Count = 20
    """Users and API tokens that may fail from one address in 15 minutes before it is slowed."""


class Retry(Section):
    waits_s: Waits = (60, 300, 900, 3600, 7200)
    """Waits after the first, second, … attempt; the last one repeats."""
    jitter: Share = 0.2
    """Each wait varies by up to this share, so that what failed together returns apart."""
    lifetime_s: Seconds = 432000
    """Age at which a mail is given up (RFC 5321 §4.5.4.1: 4 to 5 days)."""
    max_faults: FaultCount = 5
    """Faults of the relay itself in a row, its death included, that put a mail aside as failed."""


class Dispatch(Section):
    max_deliveries: Count = 200
    """Deliveries at once in one node."""
    memory_bytes: Count = 67108864
    """Content that deliveries of one node may hold in memory."""
    large_bytes: Count = 134217728
    """The same for content over 256 KB, read when it is its turn; half of it for one account."""
    handover_messages: Size = 2000
    """Mail that goes from acceptance to delivery in memory, without being read back; 0: none."""
    poll_s: Seconds = 1.0
    """How often to look for due mail that nothing announced."""
    lease_s: Seconds = 60
    """Time after which the work of a node that died is taken up by another."""
    account_rest_s: FirstAndLongest = (5, 300)
    """First and longest rest of an account whose server cannot be used; it doubles in between."""
    drain_s: SecondsOrZero = 30
    """Time given to deliveries under way when the node stops."""
    tick_s: SecondsOrZero = 0
    """Pause between rounds of dispatch; 0: mail leaves at once. compat = "genro" makes it 0.5."""


class Upstream(Section):
    connect_timeout_s: Seconds = 30
    """Longest wait for a connection to an upstream server."""
    command_timeout_s: Seconds = 300
    """Longest wait for the reply to a command (RFC 5321 §4.5.3.2: 5 minutes)."""
    data_timeout_s: Seconds = 600
    """Longest wait for the reply to the final dot (RFC 5321 §4.5.3.2.6: 10 minutes)."""
    min_rate_bytes_s: Count = 10000
    """Slowest pace at which a server takes content; gives the time that a big mail may need."""
    idle_s: SecondsOrZero = 30
    """How long an idle connection is kept for the next mail."""
    max_age_s: Seconds = 300
    """Age at which a connection is not used again."""
    probe_after_s: SecondsOrZero = 15
    """Idle time after which a connection is probed with RSET before it is used."""
    helo_name: HostName
    """Name given in EHLO; empty: smtp.hostname."""
    max_recipients: Count = 100
    """Recipients in one transaction; more are sent in portions (RFC 5321 §4.5.3.1.8)."""


class Dsn(Section):
    author: Address | None = None
    """Whom notifications are from; empty: MAILER-DAEMON at smtp.hostname."""
    max_original_bytes: UpToMebibyte = 50000
    """Largest mail that is returned whole (RET=FULL); of a larger one only the header is."""
    delay_warning_s: SecondsOrZero = 0
    """Age at which the sender of mail that still waits is told so, once; 0: never."""


class Callback(Section):
    interval_s: Seconds = 300
    """Longest time between two calls of a tenant; when nothing happened the list is empty."""
    poll_s: Seconds = 0.5
    """How often to look for events to report; what happened meanwhile goes in one call."""
    timeout_s: Seconds = 30
    """Longest time of one call, from the connection to the end of the answer."""
    max_events: ReportCount = 1000
    """Events in one call, at most 1000; after a failure fewer are offered at once."""
    max_bytes: Count = 1000000
    """Size of one call; many web servers take no more than 1 MB."""
    max_answer_bytes: Count = 1048576
    """Largest answer that is read."""
    max_calls: Count = 100
    """Calls in a row while a client says that it has more mail queued, or more events wait."""
    concurrency: Count = 50
    """Calls at once in one node; tenants whose last call failed share half of them."""
    retry_waits_s: Waits = (5, 30, 120, 300, 900, 1800)
    """Waits after the first, second, … failed call in a row; the last one repeats."""
    give_up_s: Seconds = 259200
    """Time after which events that a client does not take are parked, to be replayed by hand."""
    allowed_networks: Networks = ()
    """Private networks that may be called; loopback is while the node listens on loopback only."""


class Mailboxes(Section):
    poll_s: Seconds = 60
    """How often an account's mailbox is looked into, though its server pushes nothing."""
    handled: Handled = "seen"
    """A mail that was acted on: keep, seen (flag it), move or delete; receipts of PEC are kept."""
    handled_folder: FolderName = "Handled"
    """Where mail that was acted on is moved."""
    aside_folder: FolderName = "Unreadable"
    """Where mail that cannot be read is moved, where handled = "move"; else it is flagged."""
    first_look_days: LookDays = 30
    """How old mail may be that is looked at in a mailbox that is new to us."""
    max_bytes: Count = 262144
    """How much of a mail is fetched to see what it is."""
    max_receipt_bytes: Count = 36700160
    """Largest receipt of certified mail that is kept whole."""
    max_mailboxes: Count = 200
    """Connections at once in one node; where there are more mailboxes, they take turns."""
    connect_timeout_s: Seconds = 30
    """Longest wait for a connection and its greeting."""
    command_timeout_s: Seconds = 60
    """Longest wait for an answer; what is large gets the time it needs at 100 kB/s."""
    read_timeout_s: Seconds = 10
    """Longest time to read one mail; after it the mail is put aside."""
    rest_s: FirstAndLongest = (5, 300)
    """First and longest rest of a mailbox that cannot be read; it doubles in between."""


class Pec(Section):
    acceptance_timeout_s: Seconds = 1800
    """How long after certified mail was sent a missing acceptance is told as pec_timeout."""


class Attachments(Section):
    roots: Roots = {}
    """Folders whose files a tenant may send: {acme = ["/srv/acme"]}; of "*", every tenant."""
    allowed_networks: Networks = ()
    """Private networks that files may come from; loopback may while the node listens on it only."""
    timeout_s: Seconds = 120
    """Longest time that one file may take."""
    min_rate_bytes_s: Size = 10000
    """Slowest pace at which a server may send a file, checked after the grace; 0: any."""
    min_rate_grace_s: SecondsOrZero = 10
    """Time before the pace of a file is checked."""
    concurrency: Count = 20
    """Files that one node fetches at once."""
    concurrency_per_tenant: Count = 5
    """The same for one tenant."""
    max_files: Count = 100
    """Files of one message, inline images among them."""


class LargeFiles(Section):
    max_bytes: Count = 1073741824
    """Largest file that is taken to become a link, where a tenant wants that (rewrite)."""
    timeout_s: Seconds = 60
    """Longest wait for a storage, besides the time that a file needs at the slowest pace."""
    min_rate_bytes_s: Count = 100000
    """Slowest pace at which a storage takes a file."""
    concurrency: Count = 4
    """Files that one node stores at once; each takes up to 10 MB of memory."""
    remove_every_s: Seconds = 300
    """How often to remove files that have ended, 100 at a time."""


class Cache(Section):
    memory_bytes: Size = 52428800
    """Memory for small files that were fetched and have a declared MD5; 0: none."""
    memory_age_s: Seconds = 300
    """How long they are kept."""
    memory_file_bytes: Size = 102400
    """Up to this size a file is kept in memory, above it on disk."""
    disk_bytes: Size = 524288000
    """Disk for such files; 0: none."""
    disk_age_s: Seconds = 3600
    """How long they are kept; what was on disk when a node starts is not used again."""


class Retention(Section):
    days: Days = 7
    """Days that a message is kept after its end, once that is reported or nobody is called."""
    command_log_days: Days = 90
    """Days that the log of API commands is kept."""
    idempotency_hours: Hours = 48
    """Hours in which a call with the same Idempotency-Key gets the first answer again."""
    receipts_days: Days = 3650
    """Days that receipts of certified mail are kept; they are proof, and outlive their message."""


class Log(Section):
    format: LogFormat | None = None
    """text (key=value) or json; empty: text on a terminal, else json."""
    level: LogLevel = "info"
    """debug, info, warning or error."""


class Tree(Section):
    name: InstanceName
    """What this instance is called; empty: the name of its folder."""
    workers: Count = 1
    """Processes on this machine; more than 1 needs PostgreSQL."""
    compat: Compat = "none"
    """none, or genro: header X-Genro-Mail-ID, gmp_* metrics and a dispatch tick of 0.5 s."""
    encryption_key: EncryptionKeys | None = None
    """Base64 of 32 bytes; of several with commas the first seals; empty: made for SQLite."""
    database: Database
    http: Http
    smtp: Smtp
    limits: Limits
    retry: Retry
    dispatch: Dispatch
    upstream: Upstream
    dsn: Dsn
    callback: Callback
    mailboxes: Mailboxes
    pec: Pec
    attachments: Attachments
    cache: Cache
    large_files: LargeFiles
    retention: Retention
    log: Log
