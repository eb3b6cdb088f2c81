"""Upstream accounts. Passwords are sealed; what a connection depends on has a version that grows
when it changes.
"""

import json
from collections.abc import Sequence

from relay import maillog
from relay.crypto import Keyring
from relay.errors import SecretDamaged
from relay.model import Account, AccountKind, LimitBehavior, TlsMode
from relay.store.database import Database, Query, Row, Script, Value

SELECT = "SELECT * FROM accounts WHERE tenant_id = $1 AND id = $2"
SELECT_OF = "SELECT * FROM accounts WHERE tenant_id = $1 ORDER BY id"
UPSERT = """
INSERT INTO accounts (tenant_id, id, host, port, username, password, use_tls, tls, tls_given,
    verify, ca_file, kind,
    ttl, limit_per_minute, limit_per_hour, limit_per_day, limit_behavior, batch_size,
    max_connections,
    max_messages_per_connection, weight, rank, sender_domains, rewrite_from, is_pec_account,
    imap_host, imap_port,
    imap_user, imap_password, imap_folder, imap_ssl, created_at, updated_at, max_attempts,
    expires_in_s, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24,
    $25, $26, $27, $28, $29, $30, $31, $32, $32, $33, $34, 1)
ON CONFLICT (tenant_id, id) DO UPDATE SET host = $3, port = $4, username = $5, password = $6,
    use_tls = $7, tls = $8,
    tls_given = $9, verify = $10, ca_file = $11, kind = $12, ttl = $13, limit_per_minute = $14,
    limit_per_hour = $15,
    limit_per_day = $16, limit_behavior = $17, batch_size = $18, max_connections = $19,
    max_messages_per_connection = $20, weight = $21, rank = $22, sender_domains = $23, rewrite_from
    = $24,
    is_pec_account = $25, imap_host = $26, imap_port = $27, imap_user = $28, imap_password = $29,
    imap_folder = $30,
    imap_ssl = $31, updated_at = $32, max_attempts = $33, expires_in_s = $34,
    version = accounts.version + 1
"""
DELETE = "DELETE FROM accounts WHERE tenant_id = $1 AND id = $2 RETURNING id"


class AccountStore:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def find(self, tenant_id: str, account_id: str) -> Account | None:
        rows = await self._database.fetch(SELECT, tenant_id, account_id)
        return self._account(rows[0]) if rows else None

    async def of_tenant(self, tenant_id: str) -> Sequence[Account]:
        return [self._account(row) for row in await self._database.fetch(SELECT_OF, tenant_id)]

    async def save(self, account: Account) -> None:
        """Make or change an account; its tenant must exist."""
        values = self._values(account, self._database.now())

        def script() -> Script[None]:
            yield Query(UPSERT, values)

        await self._database.write(script)
        await self._database.signal("account", f"{account.tenant_id}/{account.id}")

    async def delete(self, tenant_id: str, account_id: str) -> bool:
        def script() -> Script[bool]:
            return bool((yield Query(DELETE, (tenant_id, account_id))))

        is_gone = await self._database.write(script)
        await self._database.signal("account", f"{tenant_id}/{account_id}")
        return is_gone

    def _seal(self, account: Account, column: str, value: str | None) -> str | None:
        where = f"accounts/{account.tenant_id}/{account.id}/{column}"
        return None if value is None else self._keyring.seal(value, where=where)

    def _open(self, row: Row, column: str) -> str | None:
        """Return a secret; None where it is damaged, so that the account can still be mended."""
        where = f"accounts/{row['tenant_id']}/{row['id']}/{column}"
        try:
            return None if row[column] is None else self._keyring.open(row[column], where=where)
        except SecretDamaged:
            maillog.secret_damaged(where)
            return None

    def _values(self, account: Account, now: float) -> tuple[Value, ...]:
        return (
            account.tenant_id,
            account.id,
            account.host,
            account.port,
            account.user,
            self._seal(account, "password", account.password),
            account.use_tls,
            account.tls.value,
            account.tls_given,
            account.verify,
            account.ca_file,
            account.kind.value,
            account.ttl,
            account.limit_per_minute,
            account.limit_per_hour,
            account.limit_per_day,
            account.limit_behavior.value,
            account.batch_size,
            account.max_connections,
            account.max_messages_per_connection,
            account.weight,
            account.rank,
            json.dumps(account.sender_domains),
            account.rewrite_from,
            account.is_pec_account,
            account.imap_host,
            account.imap_port,
            account.imap_user,
            self._seal(account, "imap_password", account.imap_password),
            account.imap_folder,
            account.imap_ssl,
            now,
            account.max_attempts,
            account.expires_in_s,
        )

    def _account(self, row: Row) -> Account:
        password = self._open(row, "password")
        return Account(
            tenant_id=row["tenant_id"],
            id=row["id"],
            host=row["host"],
            port=row["port"],
            user=row["username"],
            password=password,
            is_damaged=row["password"] is not None and password is None,
            use_tls=optional_bool(row["use_tls"]),
            tls=TlsMode(row["tls"]),
            tls_given=bool(row["tls_given"]),
            verify=bool(row["verify"]),
            ca_file=row["ca_file"],
            kind=AccountKind(row["kind"]),
            ttl=row["ttl"],
            limit_per_minute=row["limit_per_minute"],
            limit_per_hour=row["limit_per_hour"],
            limit_per_day=row["limit_per_day"],
            limit_behavior=LimitBehavior(row["limit_behavior"]),
            batch_size=row["batch_size"],
            max_connections=row["max_connections"],
            max_messages_per_connection=row["max_messages_per_connection"],
            weight=row["weight"],
            rank=row["rank"],
            sender_domains=tuple(json.loads(row["sender_domains"])),
            rewrite_from=row["rewrite_from"],
            is_pec_account=bool(row["is_pec_account"]),
            imap_host=row["imap_host"],
            imap_port=row["imap_port"],
            imap_user=row["imap_user"],
            imap_password=self._open(row, "imap_password"),
            imap_folder=row["imap_folder"],
            imap_ssl=optional_bool(row["imap_ssl"]),
            max_attempts=row["max_attempts"],
            expires_in_s=row["expires_in_s"],
            version=row["version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def optional_bool(value: int | bool | None) -> bool | None:
    return None if value is None else bool(value)
