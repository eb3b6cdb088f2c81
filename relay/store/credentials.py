"""SMTP logins. Only a hash of the secret is kept."""

import json
from collections.abc import Sequence

from relay.errors import Refused
from relay.model import Credential, SecretKind
from relay.store.database import Database, Query, Row, Script

SELECT = "SELECT * FROM credentials WHERE username = $1"
SELECT_OF = "SELECT * FROM credentials WHERE tenant_id = $1 ORDER BY username"
SELECT_NETWORKED = "SELECT * FROM credentials WHERE networks <> '[]' ORDER BY username"
UPSERT = """
INSERT INTO credentials (username, tenant_id, secret_kind, secret_hash, senders, accounts,
    networks, legacy, active,
    created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (username) DO UPDATE SET secret_kind = $3, secret_hash = $4, senders = $5, accounts =
    $6, networks = $7,
    legacy = $8, active = $9 WHERE credentials.tenant_id = $2
RETURNING username
"""
DELETE = "DELETE FROM credentials WHERE username = $1 AND tenant_id = $2 RETURNING username"


class CredentialStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, username: str) -> Credential | None:
        rows = await self._database.fetch(SELECT, username)
        return credential(rows[0]) if rows else None

    async def of_tenant(self, tenant_id: str) -> Sequence[Credential]:
        return [credential(row) for row in await self._database.fetch(SELECT_OF, tenant_id)]

    async def networked(self) -> Sequence[Credential]:
        """Return the logins of all tenants that some addresses need no password for."""
        return [credential(row) for row in await self._database.fetch(SELECT_NETWORKED)]

    async def save(self, item: Credential) -> None:
        """Make or change a login. Raises Refused when the user name belongs to another tenant."""
        values = (
            item.username,
            item.tenant_id,
            item.secret_kind.value,
            item.secret_hash,
            json.dumps(item.senders),
            json.dumps(item.accounts),
            json.dumps(item.networks),
            item.legacy,
            item.active,
            self._database.now(),
        )

        def script() -> Script[bool]:
            return bool((yield Query(UPSERT, values)))

        if not await self._database.write(script):
            raise Refused("this user name is taken", reason="username taken")
        await self._database.signal("credential", item.username)

    async def delete(self, tenant_id: str, username: str) -> bool:
        def script() -> Script[bool]:
            return bool((yield Query(DELETE, (username, tenant_id))))

        is_gone = await self._database.write(script)
        await self._database.signal("credential", username)
        return is_gone


def credential(row: Row) -> Credential:
    return Credential(
        username=row["username"],
        tenant_id=row["tenant_id"],
        secret_kind=SecretKind(row["secret_kind"]),
        secret_hash=row["secret_hash"],
        senders=tuple(json.loads(row["senders"])),
        accounts=tuple(json.loads(row["accounts"])),
        networks=tuple(json.loads(row["networks"])),
        legacy=bool(row["legacy"]),
        active=bool(row["active"]),
        created_at=row["created_at"],
    )
