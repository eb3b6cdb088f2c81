"""Files that were stored: what is known of each, and the way to its place."""

from dataclasses import dataclass

from relay.attachments.offload.place import Place, read_place
from relay.attachments.offload.policy import policy_of
from relay.attachments.offload.storages import Storages
from relay.model import Tenant
from relay.store.directory import Directory
from relay.store.files import FileStore, StoredFile


@dataclass(frozen=True, slots=True)
class Depot:
    files: FileStore
    storages: Storages
    directory: Directory

    async def place_of(self, file: StoredFile) -> Place:
        """Return where a file is, with the login that its tenant has now."""
        return place_of(file, await self.directory.tenant(file.tenant_id))


def place_of(file: StoredFile, tenant: Tenant | None) -> Place:
    """Return where a file is; the tenant's login goes with it where that is still its place."""
    place = read_place(file.storage)
    policy = policy_of(tenant) if tenant else None
    if policy and policy.place and policy.place.without_login == place:
        return policy.place
    return place
