"""A real SMTP door over a real SQLite spool, with one tenant and three logins, for tests."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import trustme

from relay.crypto import Keyring, digest, hash_password
from relay.ingress.accept import Door, DoorSettings
from relay.ingress.auth import Authenticator, AuthSettings
from relay.ingress.backlog import Bounds
from relay.ingress.disk import Disk
from relay.ingress.guesses import Guesses
from relay.ingress.smtp import Endpoint, SmtpListener, SmtpSettings
from relay.metrics import Metrics
from relay.model import Account, Credential, SecretKind, Tenant
from relay.store import contents
from relay.store.accounts import AccountStore
from relay.store.attachments import AttachmentStore
from relay.store.credentials import CredentialStore
from relay.store.database import Query, Script
from relay.store.directory import Directory
from relay.store.login_failures import Rules
from relay.store.migrate import migrate
from relay.store.spool import Spool
from relay.store.sqlite import SqliteDatabase, open_sqlite
from relay.store.tenants import TenantStore

PASSWORD = "secret"
NO_BOUNDS = Bounds()
HASHED = hash_password(PASSWORD)
CA = trustme.CA()
CERTIFICATE = CA.issue_cert("mx.acme.test", "127.0.0.1")

LOGINS = (
    Credential("ann", "acme", SecretKind.SHA256, digest(PASSWORD)),
    Credential("bob", "acme", SecretKind.ARGON2ID, HASHED, senders=("*@acme.test",)),
    Credential("old", "acme", SecretKind.SHA256, digest(PASSWORD), legacy=True),
)
SETTINGS = SmtpSettings(
    host_name="mx.acme.test",
    endpoints=(),
    tls_cert=None,
    tls_key=None,
    max_message_bytes=10_000,
    max_connections=100,
    max_connections_per_ip=10,
    max_recipients=100,
    idle_timeout_s=20,
    session_timeout_s=60,
    min_rate_bytes_s=500,
    min_rate_grace_s=30,
    max_commands=1000,
    max_errors=10,
    max_auth_failures=3,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A mail as the store has it."""

    pk: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)


@dataclass(slots=True)
class SmtpNode:
    """`port` is the one with STARTTLS, `tls_port` the one inside TLS, `clear_port` asks no TLS."""

    database: SqliteDatabase
    credentials: CredentialStore
    tenants: TenantStore
    door: Door
    authenticator: Authenticator
    metrics: Metrics
    listener: SmtpListener
    ports: Mapping[Endpoint, int]

    @property
    def clear_port(self) -> int:
        return self.ports[CLEAR]

    @property
    def port(self) -> int:
        return self.ports[STARTTLS]

    @property
    def tls_port(self) -> int:
        return self.ports[INSIDE_TLS]

    async def stored(self) -> list[Stored]:
        return [
            Stored(row["pk"], row["sender"], await self._recipients(row["pk"]), content)
            for row in await self.database.fetch("SELECT pk, sender FROM messages ORDER BY pk")
            if (content := await contents.read(self.database, row["pk"])) is not None
        ]

    async def repairs(self) -> list[str]:
        """Return what was put right in the last mail."""
        rows = await self.database.fetch("SELECT data FROM events ORDER BY seq DESC LIMIT 1")
        repairs: list[str] = json.loads(rows[0]["data"]).get("repairs", [])
        return repairs

    async def break_database(self) -> None:
        """Take away the tables of recipients and logins, so that what needs them fails."""

        def script() -> Script[None]:
            yield Query("DROP TABLE recipients")
            yield Query("DROP TABLE credentials")

        await self.database.write(script)

    async def _recipients(self, pk: str) -> tuple[str, ...]:
        sql = "SELECT address FROM recipients WHERE message_pk = $1 ORDER BY n"
        return tuple(row["address"] for row in await self.database.fetch(sql, pk))


CLEAR = Endpoint("127.0.0.1", 0, require_tls=False)
STARTTLS = Endpoint("127.0.0.1", 0, require_tls=True)
INSIDE_TLS = Endpoint("127.0.0.1", 0, require_tls=True, implicit_tls=True)


def changed(settings: SmtpSettings, changes: Mapping[str, object]) -> SmtpSettings:
    """Change settings by name; a name that is none is an error of the test."""
    unknown = set(changes) - {item.name for item in fields(settings)}
    assert not unknown, unknown
    return replace(settings, **changes)  # type: ignore[arg-type] # names were checked just now


@asynccontextmanager
async def smtp_node(
    folder: Path,
    *,
    min_free_disk_bytes: int = 0,
    first_wait_s: float = 0.001,
    waiting: Bounds = NO_BOUNDS,
    **changes: object,
) -> AsyncIterator[SmtpNode]:
    settings = changed(with_certificate(SETTINGS, folder), changes)
    database = await open_sqlite(folder / "pillarbox.db")
    await migrate(database)
    spool = Spool(database, node_id="n", lease_s=60, on_commit=lambda _seconds, _items: None)
    await spool.start()
    keyring = Keyring([secrets.token_bytes(32)])
    tenants, accounts = TenantStore(database, keyring), AccountStore(database, keyring)
    credentials = CredentialStore(database)
    directory = Directory(database, tenants, accounts, credentials, database.now)
    await tenants.save(Tenant("acme", "Acme"))
    await accounts.save(Account("acme", "main", "127.0.0.1", 25))
    for login in LOGINS:
        await credentials.save(login)
    metrics = Metrics()
    disk = Disk(folder, min_free_disk_bytes, time.monotonic)
    files = AttachmentStore(database, keyring)
    doors = replace(door_settings(settings), waiting=waiting)
    door = Door(spool, directory, files, metrics, disk, doors)
    guesses = Guesses(Rules(first_wait_s=first_wait_s), database.now)
    authenticator = Authenticator(directory, guesses, AuthSettings(cache_s=60))
    listener = SmtpListener(door, authenticator, metrics, settings)
    await listener.start()
    ports = {endpoint: port for endpoint, _, port in listener.addresses}
    node = SmtpNode(database, credentials, tenants, door, authenticator, metrics, listener, ports)
    try:
        yield node
    finally:
        await listener.stop(5)
        await spool.close()
        await database.close()


def with_certificate(settings: SmtpSettings, folder: Path) -> SmtpSettings:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in CERTIFICATE.cert_chain_pems))
    key.write_bytes(CERTIFICATE.private_key_pem.bytes())
    return replace(settings, tls_cert=cert, tls_key=key, endpoints=(CLEAR, STARTTLS, INSIDE_TLS))


def door_settings(settings: SmtpSettings) -> DoorSettings:
    return DoorSettings(
        host_name=settings.host_name,
        max_message_bytes=settings.max_message_bytes,
        max_header_bytes=102_400,
        max_header_fields=1000,
        max_hops=50,
    )
