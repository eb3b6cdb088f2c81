"""A database without room: what an upstream said is written where a mail is not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.crypto import Keyring
from relay.errors import StoreFull
from relay.model import State, Tenant
from relay.store.messages import MessageStore
from relay.store.migrate import migrate
from relay.store.spool import Spool
from relay.store.sqlite import SqliteDatabase, open_sqlite
from relay.store.tenants import TenantStore

from .conftest import mail, put, settlement

MUCH = b"Subject: much\r\n\r\n" + b"much\r\n" * 200_000


class Nearly:
    """A spool whose database has room for little, and how often it was full."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.times_full = 0
        self.spool = Spool(
            database,
            node_id="n",
            lease_s=60,
            on_commit=lambda _seconds, _items: None,
            on_full=self.filled,
        )

    def filled(self) -> None:
        self.times_full += 1

    async def fill(self) -> None:
        pages = (await self.database.fetch("PRAGMA page_count"))[0][0]
        await self.database.fetch(f"PRAGMA max_page_count={pages + 4}")


@pytest.fixture
async def nearly(tmp_path: Path, keyring: Keyring) -> AsyncIterator[Nearly]:
    database = await open_sqlite(tmp_path / "full.db")
    await migrate(database)
    await TenantStore(database, keyring).save(Tenant("acme", "Acme"))
    nearly = Nearly(database)
    await nearly.spool.start()
    yield nearly
    await nearly.spool.close()
    await database.close()


async def test_a_result_is_written_though_the_mail_beside_it_finds_no_room(nearly: Nearly) -> None:
    spool = nearly.spool
    accepted = await put(spool)
    (delivery,) = await spool.claim("acme/main", 9)
    await nearly.fill()
    # Both are submitted before the writer has its turn, and so go into one commit.
    giving = asyncio.create_task(spool.accept(mail(spool, content=MUCH)))
    await asyncio.sleep(0)
    await spool.settle(settlement(spool, delivery, State.SENT))
    with pytest.raises(StoreFull):
        await giving
    assert nearly.times_full == 1
    events = await MessageStore(nearly.database).events(accepted.pk)
    assert [event.kind for event in events] == ["accepted", "sent"]


async def test_room_that_mail_left_behind_is_the_databases_own(nearly: Nearly) -> None:
    spool = nearly.spool
    await put(spool, content=MUCH)
    (delivery,) = await spool.claim("acme/main", 9)
    before = await nearly.database.spare_bytes()
    await spool.settle(settlement(spool, delivery, State.SENT))
    after = await nearly.database.spare_bytes()
    assert after - before >= len(MUCH) * 0.9
