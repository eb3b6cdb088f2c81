"""Receipts of certified mail that are kept: shown, given out byte for byte, forgotten at last.

They are legal proof, so they outlive what they prove: the content, the message, an order to delete
it. They go with their tenant, or when they are old enough and their message is gone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relay.formats.pec.model import ReceiptKind
from relay.store.database import Database, Query, Row, Script

PORTION = 500

# An id may be used again once its message was forgotten: the newest is meant.
LATEST = """
SELECT message_pk FROM receipts WHERE tenant_id = $1 AND id = $2 ORDER BY message_pk DESC LIMIT 1
"""
LIST = """
SELECT number, account_id, kind, at, received_at, recipients, error, detail, provider, provider_id,
    size_bytes
FROM receipts WHERE tenant_id = $1 AND message_pk = $2 ORDER BY number
"""
BODY = "SELECT body FROM receipts WHERE tenant_id = $1 AND message_pk = $2 AND number = $3"
FORGET = """
DELETE FROM receipts WHERE (message_pk, number) IN (
    SELECT r.message_pk, r.number FROM receipts r WHERE r.received_at < $1
        AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.pk = r.message_pk)
    ORDER BY r.received_at LIMIT $2)
"""


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """A kept receipt without its bytes. `at` is when it was certified, as far as it says."""

    number: int
    account_id: str
    kind: ReceiptKind
    at: float
    received_at: float
    recipients: tuple[str, ...]
    error: str | None
    detail: str | None
    provider: str | None
    provider_id: str | None
    size_bytes: int


class ReceiptStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest_pk(self, tenant_id: str, key: str) -> str | None:
        """Find a message that has receipts, by the client's id, else by pk, though it be gone."""
        rows = await self._database.fetch(LATEST, tenant_id, key)
        if rows:
            return str(rows[0]["message_pk"])
        return key if await self.of(tenant_id, key) else None

    async def of(self, tenant_id: str, message_pk: str) -> list[ReceiptView]:
        """Return the receipts of a message in the order in which they came."""
        return views(await self._database.fetch(LIST, tenant_id, message_pk))

    async def body(self, tenant_id: str, message_pk: str, number: int) -> bytes | None:
        """Return a receipt as it came."""
        rows = await self._database.fetch(BODY, tenant_id, message_pk, number)
        return bytes(rows[0]["body"]) if rows else None


def views(rows: Sequence[Row]) -> list[ReceiptView]:
    return [
        ReceiptView(
            row["number"],
            row["account_id"],
            ReceiptKind(row["kind"]),
            row["at"],
            row["received_at"],
            tuple(json.loads(row["recipients"])),
            row["error"],
            row["detail"],
            row["provider"],
            row["provider_id"],
            row["size_bytes"],
        )
        for row in rows
    ]


def forget(before: float) -> Script[None]:
    """Forget the oldest that came before that time and whose message is gone."""
    yield Query(FORGET, (before, PORTION))
