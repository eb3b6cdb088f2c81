"""Mail that is to be told of when it is late."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relay.crypto import Keyring
from relay.errors import StoreUnavailable
from relay.model import Credential, Ingress, SecretKind, Tenant
from relay.store.credentials import CredentialStore
from relay.store.database import Database, Script
from relay.store.late import AT_ONCE, REPLY, tell, tell_of_late
from relay.store.messages import MessageStore
from relay.store.queue.notify import Postmaster
from relay.store.spool import Spool
from relay.store.tenants import TenantStore

from .conftest import put


@pytest.fixture
async def spool(db: Database, acme: Tenant) -> AsyncIterator[Spool]:
    spool = Spool(
        db,
        node_id="node-1",
        lease_s=60,
        on_commit=lambda _seconds, _items: None,
        postmaster=Postmaster("relay.test", "MAILER-DAEMON@relay.test", 50_000),
    )
    await spool.start()
    yield spool
    await spool.close()


def cut_short(spool: Spool) -> Script[None]:
    """Do it all, and die before it is committed."""
    yield from tell(spool.now(), spool.next_seq, spool.postmaster, 3600)
    raise StoreUnavailable("this node died")


async def notifications(db: Database) -> list[str]:
    rows = await db.fetch("SELECT pk FROM messages WHERE ingress = 'dsn'")
    return [row["pk"] for row in rows]


async def told_of(db: Database, pk: str) -> list[int | None]:
    """Return for which recipients it is told that they are late."""
    events = await MessageStore(db).events(pk)
    return [event.n for event in events if event.data.get("reply") == REPLY]


async def test_each_recipient_that_waits_is_told_of_once(spool: Spool, db: Database) -> None:
    now = spool.now()
    late = await put(spool, "x@there.test", "y@there.test", late_at=now - 1)
    early = await put(spool, late_at=now + 3600)
    other = await put(spool)
    await asyncio.gather(tell_of_late(spool, 3600), tell_of_late(spool, 3600))
    await tell_of_late(spool, 3600)
    assert await told_of(db, late.pk) == [0, 1]
    assert await told_of(db, early.pk) == await told_of(db, other.pk) == []


async def test_more_mail_than_one_portion_is_told_of(spool: Spool, db: Database) -> None:
    for _ in range(AT_ONCE + 1):
        await put(spool, late_at=spool.now() - 1)
    await tell_of_late(spool, 3600)
    rows = await db.fetch("SELECT COUNT(*) AS events FROM events WHERE kind = 'deferred'")
    assert rows[0]["events"] == AT_ONCE + 1


async def test_the_event_and_the_notification_are_in_one_commit(spool: Spool, db: Database) -> None:
    accepted = await put(spool, late_at=spool.now() - 1, ingress=Ingress.SMTP)
    with pytest.raises(StoreUnavailable):
        await db.write(lambda: cut_short(spool))
    assert await told_of(db, accepted.pk) == []
    assert await notifications(db) == []
    await asyncio.gather(*(tell_of_late(spool, 3600) for _ in range(5)))
    assert await told_of(db, accepted.pk) == [0]
    assert len(await notifications(db)) == 1


async def test_it_is_reported_where_the_tenant_is_called(
    spool: Spool, db: Database, keyring: Keyring
) -> None:
    await TenantStore(db, keyring).save(Tenant("acme", "Acme", client_base_url="http://a.test"))
    accepted = await put(spool, late_at=spool.now() - 1)
    await tell_of_late(spool, 3600)
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
