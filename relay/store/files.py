"""Files that are linked from mails: where each is stored, and until when.

A file is noted before it is stored, so that nothing is stored that nobody removes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay.store.database import Database, Each, Query, Row, Script

# A file that is stored again, because a node died before the mail was complete, is the same one.
NOTE = """
INSERT INTO files (id, tenant_id, message_pk, storage, key, name, mime_type, size_bytes, sha256,
    created_at, expires_at, remove_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
ON CONFLICT (id) DO UPDATE SET storage = $4, key = $5, expires_at = $11, remove_at = $11
"""
FIND = "SELECT * FROM files WHERE id = $1"
ENDED = "SELECT * FROM files WHERE remove_at <= $1 ORDER BY remove_at LIMIT $2"
FORGET = "DELETE FROM files WHERE id = $1"
POSTPONE = "UPDATE files SET remove_at = $2 WHERE id = $1"
END_ALL = "UPDATE files SET expires_at = 0, remove_at = 0 WHERE tenant_id = $1"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """`storage` is the URL of its place, without a login, and `key` its name there."""

    id: str
    tenant_id: str
    message_pk: str
    storage: str
    key: str
    name: str
    mime_type: str
    size_bytes: int
    sha256: str
    created_at: float
    expires_at: float


class FileStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> float:
        return self._database.now()

    async def note(self, file: StoredFile) -> None:
        await self._database.write(partial(note, file))

    async def find(self, file_id: str) -> StoredFile | None:
        rows = await self._database.fetch(FIND, file_id)
        return stored_file(rows[0]) if rows else None

    async def ended(self, most: int) -> list[StoredFile]:
        """Return files that are to be removed now, the oldest first."""
        rows = await self._database.fetch(ENDED, self.now(), most)
        return [stored_file(row) for row in rows]

    async def forget(self, file_ids: Sequence[str]) -> None:
        await self._database.write(partial(forget, file_ids))

    async def postpone(self, file_id: str, remove_at: float) -> None:
        """Try later to remove it."""
        await self._database.write(partial(postpone, file_id, remove_at))


def note(file: StoredFile) -> Script[None]:
    values = (
        file.id,
        file.tenant_id,
        file.message_pk,
        file.storage,
        file.key,
        file.name,
        file.mime_type,
        file.size_bytes,
        file.sha256,
        file.created_at,
        file.expires_at,
    )
    yield Query(NOTE, values)


def forget(file_ids: Sequence[str]) -> Script[None]:
    yield Each(FORGET, [(file_id,) for file_id in file_ids])


def postpone(file_id: str, remove_at: float) -> Script[None]:
    yield Query(POSTPONE, (file_id, remove_at))


def end_files(tenant_id: str) -> Script[None]:
    """End the files of a tenant that goes; the next round removes them."""
    yield Query(END_ALL, (tenant_id,))


def stored_file(row: Row) -> StoredFile:
    return StoredFile(
        row["id"],
        row["tenant_id"],
        row["message_pk"],
        row["storage"],
        row["key"],
        row["name"],
        row["mime_type"],
        row["size_bytes"],
        row["sha256"],
        row["created_at"],
        row["expires_at"],
    )
