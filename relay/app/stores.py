"""The database of the settings, and the stores that stand on it."""

import time
from dataclasses import dataclass

from relay.config import Config
from relay.crypto import Keyring
from relay.store.accounts import AccountStore
from relay.store.attachments import AttachmentStore
from relay.store.batches import BatchStore
from relay.store.command_log import CommandLog
from relay.store.credentials import CredentialStore
from relay.store.database import Database
from relay.store.directory import Directory
from relay.store.events import EventStore
from relay.store.instance import InstanceStore, check_key
from relay.store.mailboxes import MailboxStore
from relay.store.messages import MessageStore
from relay.store.migrate import check_version, migrate
from relay.store.outbox import Outbox
from relay.store.receipts import ReceiptStore
from relay.store.retention import RetentionStore
from relay.store.sqlite import open_sqlite
from relay.store.suppressions import SuppressionStore
from relay.store.tenants import TenantStore


async def open_database(config: Config, keyring: Keyring) -> Database:
    """Open, check and migrate the database of the settings. With another key than it was made with
    nothing in it is changed.
    """
    path = config.database.sqlite_path
    database = await (open_server(config) if path is None else open_sqlite(path))
    try:
        if await check_version(database):
            await check_key(database, keyring)
        await migrate(database)
        await check_key(database, keyring)
        return database
    except BaseException:
        await database.close()
        raise


async def open_server(config: Config) -> Database:
    # asyncpg takes 20 ms to load, and SQLite has no use for it.
    from relay.store.postgres import open_postgres  # noqa: PLC0415

    return await open_postgres(
        config.database.url.get_secret_value(),
        pool_size=config.database.pool_size,
        timeout_s=config.database.command_timeout_s,
    )


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one opened database."""

    tenants: TenantStore
    accounts: AccountStore
    credentials: CredentialStore
    messages: MessageStore
    attachments: AttachmentStore
    batches: BatchStore
    retention: RetentionStore
    suppressions: SuppressionStore
    command_log: CommandLog
    instance: InstanceStore
    events: EventStore
    outbox: Outbox
    mailboxes: MailboxStore
    receipts: ReceiptStore
    directory: Directory


def open_stores(database: Database, keyring: Keyring) -> Stores:
    tenants = TenantStore(database, keyring)
    accounts = AccountStore(database, keyring)
    credentials = CredentialStore(database)
    instance = InstanceStore(database, keyring)
    directory = Directory(database, tenants, accounts, credentials, time.monotonic)
    return Stores(
        tenants,
        accounts,
        credentials,
        MessageStore(database),
        AttachmentStore(database, keyring),
        BatchStore(database),
        RetentionStore(database),
        SuppressionStore(database),
        CommandLog(database),
        instance,
        EventStore(database),
        Outbox(database),
        MailboxStore(database, accounts, instance),
        ReceiptStore(database),
        directory,
    )
