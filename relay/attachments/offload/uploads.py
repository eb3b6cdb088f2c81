"""A large file stored where its tenant wants it, and the link by which people get it.

The link is the storage's own where that may last as long as the file is kept. Clouds sign for seven
days at most, so a longer one is a link of ours, which leads to one of theirs when it is followed; a
tenant without a public URL of ours gets seven days. Files in a local folder have links of ours.
"""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relay.attachments.large import Link
from relay.attachments.offload.place import Place, Scheme
from relay.attachments.offload.policy import CLOUD_LINK_MAX_S, Policy
from relay.attachments.offload.storages import Storages
from relay.attachments.offload.tickets import Tickets, file_id
from relay.errors import StorageUnavailable
from relay.model import Delivery
from relay.store.files import FileStore, StoredFile

KEY_NAME_MAX_CHARS = 60
_UNFIT_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file to be stored; `pieces` reads it from its start, in a thread."""

    name: str
    mime_type: str
    size_bytes: int
    sha256: str
    pieces: Callable[[], Iterator[bytes]] = field(repr=False)


class Uploads:
    def __init__(
        self, files: FileStore, storages: Storages, tickets: Tickets, most_at_once: int
    ) -> None:
        self._files = files
        self._storages = storages
        self._tickets = tickets
        self._room = asyncio.Semaphore(most_at_once)

    async def store(self, delivery: Delivery, policy: Policy, file: LargeFile) -> Link:
        """Store a file of a mail. Raises StorageUnavailable, and what the store does."""
        if policy.place is None:
            raise StorageUnavailable("no storage for large files is set")
        stored = described(delivery, policy, policy.place, file, self._files.now())
        async with self._room:
            await self._files.note(stored)
            await self._storages.at(policy.place).put(stored, file.pieces())
        url, expires_at = await self._link(policy, policy.place, stored)
        return Link(file.name, file.mime_type, file.size_bytes, file.sha256, url, expires_at)

    async def _link(self, policy: Policy, place: Place, stored: StoredFile) -> tuple[str, float]:
        """Return the link of a file, and when it ends."""
        is_ours = place.scheme is Scheme.FILE or policy.ttl_s > CLOUD_LINK_MAX_S
        if is_ours and policy.public_base_url:
            return self._tickets.url(policy.public_base_url, stored.id), stored.expires_at
        lasts_s = min(policy.ttl_s, CLOUD_LINK_MAX_S)
        url = await self._storages.cloud(place).sign(stored, lasts_s)
        return url, stored.created_at + lasts_s


def described(
    delivery: Delivery, policy: Policy, place: Place, file: LargeFile, now: float
) -> StoredFile:
    id = file_id(delivery.pk, file.name, file.sha256)
    return StoredFile(
        id=id,
        tenant_id=delivery.tenant_id,
        message_pk=delivery.pk,
        storage=place.without_login.masked,
        key=f"{delivery.tenant_id}/{id}-{key_name(file.name)}",
        name=file.name,
        mime_type=file.mime_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        created_at=now,
        expires_at=now + policy.ttl_s,
    )


def key_name(name: str) -> str:
    """Return what is left of a file's name in ASCII: Azure does not sign anything else. The end of
    it stays, which says what it is.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _UNFIT_IN_KEY.sub("_", plain)[-KEY_NAME_MAX_CHARS:].strip("_") or "file"
