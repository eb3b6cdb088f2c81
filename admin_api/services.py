"""What the handlers of the REST API use, handed over in one piece by whoever builds the node."""

from collections.abc import Callable, Sequence
from dataclasses import field

from admin_api.operation import Operation
from admin_api.probes import QueueGauges, Readiness
from admin_api.uncut import Uncut
from relay.attachments.offload.depot import Depot
from relay.attachments.offload.tickets import Tickets
from relay.dispatch.verify import Verifier
from relay.ingress.accept import Door
from relay.ingress.guesses import Guesses
from relay.metrics import Metrics
from relay.store.accounts import AccountStore
from relay.store.attachments import AttachmentStore
from relay.store.batches import BatchStore
from relay.store.command_log import CommandLog
from relay.store.credentials import CredentialStore
from relay.store.database import Database
from relay.store.directory import Directory
from relay.store.events import EventStore
from relay.store.instance import InstanceStore
from relay.store.mailboxes import MailboxStore
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.outbox import Outbox
from relay.store.receipts import ReceiptStore
from relay.store.retention import RetentionStore
from relay.store.suppressions import SuppressionStore
from relay.store.tenants import TenantStore
from relay.value import frozen

Wake = Callable[[str | None], None]


@frozen
class ApiSettings:
    """`admin_token_digest` is `relay.crypto.digest` of the token; without a metrics token /metrics
    is open.
    """

    admin_token_digest: str
    host_name: str
    metrics_token_digest: str | None = None
    max_body_bytes: int = 36_765_440
    max_message_bytes: int = 26_214_400
    max_recipients: int = 1000
    max_files: int = 100
    max_connections: int = 500
    request_deadline_s: float = 60.0
    instance_name: str = "default"
    keep_s: float = 604_800.0
    min_rate_bytes_s: int = 10_000
    sync_interval_s: float = 300.0


@frozen
class AccountTrouble:
    """An account that rests; `reason` is printable and names no secret."""

    tenant_id: str
    account_id: str
    reason: str
    until: float


@frozen
class Services:
    """`wake` asks for a dispatch at once, of one tenant's mail or, with None, of all.

    `why_waiting` says of a lane why its due mail is not sent now.
    """

    settings: ApiSettings
    version: str
    node: str
    database: Database
    door: Door
    directory: Directory
    tenants: TenantStore
    accounts: AccountStore
    credentials: CredentialStore
    messages: MessageStore
    attachments: AttachmentStore
    batches: BatchStore
    orders: OrderStore
    command_log: CommandLog
    instance: InstanceStore
    retention: RetentionStore
    suppressions: SuppressionStore
    events: EventStore
    outbox: Outbox
    mailboxes: MailboxStore
    receipts: ReceiptStore
    guesses: Guesses
    metrics: Metrics
    verifier: Verifier
    wake: Wake
    accounts_in_trouble: Callable[[], Sequence[AccountTrouble]]
    why_waiting: Callable[[str], str | None]
    is_active: Callable[[], bool]
    readiness: Readiness
    gauges: QueueGauges
    uncut: Uncut
    depot: Depot
    tickets: Tickets
    operation: Operation = field(default_factory=Operation)
