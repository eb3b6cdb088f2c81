"""The REST API of one node over a real socket, on each engine in turn."""

import io
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from admin_api.probes import QueueGauges, Readiness
from admin_api.services import Services
from admin_api.uncut import Uncut
from relay import maillog
from relay.attachments.offload.depot import Depot
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.storages import Storages
from relay.attachments.offload.tickets import Tickets
from relay.crypto import Keyring
from relay.dispatch.pool import PoolSettings
from relay.dispatch.verify import Verifier
from relay.ingress.accept import Door, DoorSettings
from relay.ingress.backlog import Bounds
from relay.ingress.disk import Disk
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
from relay.store.files import FileStore
from relay.store.instance import InstanceStore
from relay.store.login_failures import LoginFailures, Rules
from relay.store.mailboxes import MailboxStore
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.outbox import Outbox
from relay.store.receipts import ReceiptStore
from relay.store.retention import RetentionStore
from relay.store.spool import Spool
from relay.store.suppressions import SuppressionStore
from relay.store.tenants import TenantStore
from tests.api.serving import (
    ADMIN_TOKEN,
    MAIN_ACCOUNT,
    MAX_MESSAGE_BYTES,
    SETTINGS,
    Api,
    Json,
    Message,
    close,
    open_tenant,
    serve,
)


def door_settings() -> DoorSettings:
    return DoorSettings(
        host_name="relay.test",
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_header_bytes=102_400,
        max_header_fields=1000,
        max_hops=50,
        waiting=Bounds(messages=2000),
    )


@pytest.fixture
async def spool(db: Database) -> AsyncIterator[Spool]:
    spool = Spool(db, node_id="n", lease_s=60, on_commit=lambda _s, _n: None)
    await spool.start()
    yield spool
    await spool.close()


@pytest.fixture
def services(db: Database, spool: Spool) -> Services:
    keyring = Keyring([bytes(32)])
    tenants, accounts = TenantStore(db, keyring), AccountStore(db, keyring)
    credentials, metrics = CredentialStore(db), Metrics()
    instance = InstanceStore(db, keyring)
    directory = Directory(db, tenants, accounts, credentials, time.monotonic)
    files = AttachmentStore(db, keyring)
    disk = Disk(None, 0, time.monotonic)
    door = Door(spool, directory, files, metrics, disk, door_settings())
    return Services(
        settings=SETTINGS,
        version="0.0.1",
        node="n",
        database=db,
        door=door,
        directory=directory,
        tenants=tenants,
        accounts=accounts,
        credentials=credentials,
        messages=MessageStore(db),
        attachments=files,
        batches=BatchStore(db),
        orders=OrderStore(spool),
        command_log=CommandLog(db),
        instance=instance,
        retention=RetentionStore(db),
        suppressions=SuppressionStore(db),
        events=EventStore(db),
        outbox=Outbox(db),
        mailboxes=MailboxStore(db, accounts, instance),
        receipts=ReceiptStore(db),
        guesses=Guesses(Rules(first_wait_s=0, most_names=1000), db.now, LoginFailures(db)),
        metrics=metrics,
        verifier=Verifier(PoolSettings("relay.test")),
        wake=lambda _tenant_id: None,
        accounts_in_trouble=list,
        why_waiting=lambda _lane: None,
        is_active=lambda: True,
        readiness=Readiness(db, door.check_disk),
        gauges=QueueGauges(db, EventStore(db), metrics),
        uncut=Uncut(),
        depot=Depot(FileStore(db), Storages(Pace(5, 100_000)), directory),
        tickets=Tickets(keyring),
    )


@pytest.fixture
async def bare(services: Services) -> AsyncIterator[Api]:
    """An API without any tenant."""
    api = await serve(services)
    yield api
    await close(api)


@pytest.fixture
async def api(bare: Api) -> Api:
    """An API with the tenants `acme` and `rival`, each with an account `main`."""
    for tenant_id in ("acme", "rival"):
        client = await open_tenant(bare, tenant_id)
        assert (await client.post("/account", json=MAIN_ACCOUNT)).status_code == 200
    return bare


@pytest.fixture
def admin(bare: Api) -> httpx.AsyncClient:
    return bare.client(ADMIN_TOKEN)


@pytest.fixture
def nobody(bare: Api) -> httpx.AsyncClient:
    return bare.client(None)


@pytest.fixture
def acme(api: Api) -> httpx.AsyncClient:
    return api.client(api.keys["acme"])


@pytest.fixture
def rival(api: Api) -> httpx.AsyncClient:
    return api.client(api.keys["rival"])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged from now on."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    maillog.configure("json", "debug", stream=stream)
    yield stream
    maillog.configure("text", "error", stream=io.StringIO())
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def message() -> Message:
    """Make a message of `acme`, with changes; a change to None leaves the field out."""

    def make(**changes: Any) -> Json:
        values = {
            "id": "m1",
            "tenant_id": "acme",
            "account_id": "main",
            "from": "a@acme.test",
            "to": ["x@there.test"],
            "subject": "Hello",
            "body": "Hi there",
        }
        values |= {name.rstrip("_"): value for name, value in changes.items()}
        return {name: value for name, value in values.items() if value is not None}

    return make
