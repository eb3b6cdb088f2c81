"""Mail that is to be told of when it is late."""

import asyncio
from dataclasses import replace

from relay.crypto import Keyring
from relay.model import Credential, SecretKind, Tenant
from relay.store.credentials import CredentialStore
from relay.store.database import Database
from relay.store.late import AT_ONCE, REPLY, tell_of_late
from relay.store.messages import MessageStore
from relay.store.spool import Spool
from relay.store.tenants import TenantStore

from .conftest import put


async def told_of(db: Database, pk: str) -> list[int | None]:
    """Return for which recipients it is told that they are late."""
    events = await MessageStore(db).events(pk)
    return [event.n for event in events if event.data.get("reply") == REPLY]


async def test_each_recipient_that_waits_is_told_of_once(spool: Spool, db: Database) -> None:
    now = spool.now()
    late = await put(spool, "x@there.test", "y@there.test", late_at=now - 1)
    early = await put(spool, late_at=now + 3600)
    other = await put(spool)
    await asyncio.gather(tell_of_late(spool), tell_of_late(spool))
    await tell_of_late(spool)
    assert await told_of(db, late.pk) == [0, 1]
    assert await told_of(db, early.pk) == await told_of(db, other.pk) == []


async def test_more_mail_than_one_portion_is_told_of(spool: Spool, db: Database) -> None:
    for _ in range(AT_ONCE + 1):
        await put(spool, late_at=spool.now() - 1)
    await tell_of_late(spool)
    rows = await db.fetch("SELECT COUNT(*) AS events FROM events WHERE kind = 'deferred'")
    assert rows[0]["events"] == AT_ONCE + 1


async def test_it_is_reported_where_the_tenant_is_called(
    spool: Spool, db: Database, keyring: Keyring
) -> None:
    await TenantStore(db, keyring).save(Tenant("acme", "Acme", client_base_url="http://a.test"))
    accepted = await put(spool, late_at=spool.now() - 1)
    await tell_of_late(spool)
    rows = await db.fetch(
        "SELECT report FROM events WHERE message_pk = $1 AND kind = 'deferred'", accepted.pk
    )
    assert [row["report"] for row in rows] == ["waiting"]


async def test_only_logins_with_networks_are_looked_through(db: Database) -> None:
    store = CredentialStore(db)
    login = Credential("a", "acme", SecretKind.SHA256, "none")
    await store.save(login)
    await store.save(replace(login, username="b", networks=("10.0.0.0/8",)))
    assert [found.username for found in await store.networked()] == ["b"]
