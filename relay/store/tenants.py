"""Tenants and their API keys. Secrets of a tenant are sealed; a key is kept as its SHA-256 only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relay import maillog
from relay.crypto import Keyring, digest, new_secret
from relay.errors import NotFound, SecretDamaged
from relay.model import DsnWish, Tenant
from relay.store.database import Database, Query, Row, Script, Value
from relay.store.outbox import enrol

SELECT = "SELECT * FROM tenants WHERE id = $1"
SELECT_ALL = "SELECT * FROM tenants ORDER BY id"
UPSERT = """
INSERT INTO tenants (id, name, active, weight, client_base_url, client_sync_path,
    client_attachment_path, client_auth,
    callback_secret, rate_limits, large_file_config, keep_content_days, bounce_return_path, dsn,
    suppression,
    created_at, updated_at, max_attempts, expires_in_s, suspended_batches)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, '[]')
ON CONFLICT (id) DO UPDATE SET name = $2, active = $3, weight = $4, client_base_url = $5,
    client_sync_path = $6,
    client_attachment_path = $7, client_auth = $8, callback_secret = $9, rate_limits = $10,
    large_file_config = $11,
    keep_content_days = $12, bounce_return_path = $13, dsn = $14, suppression = $15, updated_at =
    $17, max_attempts = $18, expires_in_s = $19
RETURNING created_at
"""
ADD_KEY = (
    "INSERT INTO api_keys (key_hash, tenant_id, created_at, expires_at) VALUES ($1, $2, $3, $4)"
)
DROP_KEYS = "DELETE FROM api_keys WHERE tenant_id = $1 RETURNING key_hash"
END_KEYS = """
UPDATE api_keys SET expires_at = $2
WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > $2)
"""
DROP_ENDED_KEYS = "DELETE FROM api_keys WHERE tenant_id = $1 AND expires_at <= $2"
# Two that make a key at once take turns.
LOCK = "SELECT id FROM tenants WHERE id = $1 {for_update}"
SELECT_KEY = "SELECT key_hash, tenant_id, expires_at FROM api_keys WHERE key_hash = $1"


@dataclass(frozen=True, slots=True)
class ApiKey:
    key_hash: str
    tenant_id: str
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class BroughtKey:
    """A key that a tenant had elsewhere."""

    key_hash: str
    expires_at: float | None = None


SEALED = ("client_auth", "callback_secret", "large_file_config")


class TenantStore:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def find(self, tenant_id: str) -> Tenant | None:
        rows = await self._database.fetch(SELECT, tenant_id)
        return self._tenant(rows[0]) if rows else None

    async def all(self) -> Sequence[Tenant]:
        return [self._tenant(row) for row in await self._database.fetch(SELECT_ALL)]

    async def save(self, tenant: Tenant) -> bool:
        """Make or change a tenant; return whether it is new. Its suspended batches are left as they
        are.
        """
        now = self._database.now()
        is_new = await self._database.write(lambda: self._upsert(tenant, now))
        await self._database.signal("tenant", tenant.id)
        return is_new

    async def open(self, tenant: Tenant, brought: BroughtKey | None = None) -> str | None:
        """Make or change a tenant. A new one keeps the key that it brought, or else gets one, which
        is returned this once.
        """
        now, secret = self._database.now(), new_secret()
        key = brought or BroughtKey(digest(secret))

        def script() -> Script[bool]:
            is_new = yield from self._upsert(tenant, now)
            if is_new:
                yield Query(ADD_KEY, (key.key_hash, tenant.id, now, key.expires_at))
            return is_new

        is_new = await self._database.write(script)
        await self._database.signal("tenant", tenant.id)
        return secret if is_new and brought is None else None

    def _upsert(self, tenant: Tenant, now: float) -> Script[bool]:
        rows = yield Query(UPSERT, self._values(tenant, now))
        yield from enrol(tenant.id, tenant.client_base_url is not None)
        return bool(rows[0]["created_at"] == now)

    async def find_key(self, key_hash: str) -> ApiKey | None:
        rows = await self._database.fetch(SELECT_KEY, key_hash)
        return (
            ApiKey(rows[0]["key_hash"], rows[0]["tenant_id"], rows[0]["expires_at"])
            if rows
            else None
        )

    async def new_key(
        self, tenant_id: str, expires_at: float | None = None, grace_s: float = 0
    ) -> str:
        """Make a key and return it: the only time that it can be read. The earlier ones end with
        it, or after `grace_s`. Raises NotFound.
        """
        secret, now = new_secret(), self._database.now()

        def script() -> Script[bool]:
            if not (yield Query(LOCK, (tenant_id,))):
                return False
            yield Query(END_KEYS, (tenant_id, now + grace_s))
            yield Query(DROP_ENDED_KEYS, (tenant_id, now))
            yield Query(ADD_KEY, (digest(secret), tenant_id, now, expires_at))
            return True

        if not await self._database.write(script):
            raise NotFound("no such tenant")
        await self._database.signal("tenant", tenant_id)
        return secret

    async def revoke_keys(self, tenant_id: str) -> int:
        """End all keys of a tenant at once; return how many there were. Raises NotFound."""

        def script() -> Script[int | None]:
            if not (yield Query(LOCK, (tenant_id,))):
                return None
            return len((yield Query(DROP_KEYS, (tenant_id,))))

        count = await self._database.write(script)
        if count is None:
            raise NotFound("no such tenant")
        await self._database.signal("tenant", tenant_id)
        return count

    def _seal(self, tenant_id: str, column: str, value: str | None) -> str | None:
        return (
            None
            if value is None
            else self._keyring.seal(value, where=f"tenants/{tenant_id}/{column}")
        )

    def _open(self, row: Row, column: str) -> str | None:
        """Return a sealed setting; None where it is damaged, so that the tenant can be mended."""
        where = f"tenants/{row['id']}/{column}"
        try:
            return None if row[column] is None else self._keyring.open(row[column], where=where)
        except SecretDamaged:
            maillog.secret_damaged(where)
            return None

    def _values(self, tenant: Tenant, now: float) -> tuple[Value, ...]:
        auth = None if tenant.client_auth is None else json.dumps(tenant.client_auth)
        config = tenant.large_file_config
        # The URL in it may have a login.
        large_files = None if config is None else json.dumps(config)
        return (
            tenant.id,
            tenant.name,
            tenant.active,
            tenant.weight,
            tenant.client_base_url,
            tenant.client_sync_path,
            tenant.client_attachment_path,
            self._seal(tenant.id, "client_auth", auth),
            self._seal(tenant.id, "callback_secret", tenant.callback_secret),
            None if tenant.rate_limits is None else json.dumps(tenant.rate_limits),
            self._seal(tenant.id, "large_file_config", large_files),
            tenant.keep_content_days,
            tenant.bounce_return_path,
            tenant.dsn and tenant.dsn.value,
            tenant.suppression,
            now,
            now,
            tenant.max_attempts,
            tenant.expires_in_s,
        )

    def _tenant(self, row: Row) -> Tenant:
        auth = self._open(row, "client_auth")
        secret = self._open(row, "callback_secret")
        config: str | None = row["large_file_config"]
        # It was not sealed before migration 6.
        if config is not None and not config.startswith("{"):
            config = self._open(row, "large_file_config")
        opened = zip(SEALED, (auth, secret, config), strict=True)
        return Tenant(
            id=row["id"],
            name=row["name"],
            active=bool(row["active"]),
            weight=row["weight"],
            client_base_url=row["client_base_url"],
            client_sync_path=row["client_sync_path"],
            client_attachment_path=row["client_attachment_path"],
            client_auth=None if auth is None else json.loads(auth),
            callback_secret=secret,
            rate_limits=None if row["rate_limits"] is None else json.loads(row["rate_limits"]),
            large_file_config=None if config is None else json.loads(config),
            keep_content_days=row["keep_content_days"],
            bounce_return_path=row["bounce_return_path"],
            dsn=row["dsn"] and DsnWish(row["dsn"]),
            suppression=row["suppression"],
            max_attempts=row["max_attempts"],
            expires_in_s=row["expires_in_s"],
            suspended_batches=tuple(json.loads(row["suspended_batches"])),
            damaged=tuple(name for name, text in opened if row[name] is not None and text is None),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
