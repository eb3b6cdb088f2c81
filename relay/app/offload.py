"""What becomes of files that are too big to travel, built from the settings."""

from dataclasses import dataclass

from relay.app.stores import Stores
from relay.attachments.offload.depot import Depot
from relay.attachments.offload.expiry import remove_ended
from relay.attachments.offload.offload import Offload
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.storages import Storages
from relay.attachments.offload.tickets import Tickets
from relay.attachments.offload.uploads import Uploads
from relay.config import Config
from relay.crypto import Keyring
from relay.store.database import Database
from relay.store.files import FileStore
from relay.store.warnings import WarningStore


@dataclass(frozen=True, slots=True)
class LargeFilesParts:
    offload: Offload
    depot: Depot
    tickets: Tickets

    async def remove_ended(self) -> None:
        await remove_ended(self.depot)


def open_large_files(
    config: Config, database: Database, stores: Stores, keyring: Keyring
) -> LargeFilesParts:
    settings = config.large_files
    storages = Storages(Pace(settings.timeout_s, settings.min_rate_bytes_s))
    depot = Depot(FileStore(database), storages, stores.directory)
    tickets = Tickets(keyring)
    uploads = Uploads(depot.files, storages, tickets, settings.concurrency)
    offload = Offload(uploads, WarningStore(database), settings.max_bytes)
    return LargeFilesParts(offload, depot, tickets)
