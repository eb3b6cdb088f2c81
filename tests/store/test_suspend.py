"""The gate of a tenant: what it holds, and that nothing slips through while it closes."""

import asyncio

import pytest

from relay.errors import Held
from relay.model import Account, State
from relay.store.batches import BatchStore
from relay.store.database import Database
from relay.store.queue import suspend
from relay.store.queue.settle import Release
from relay.store.spool import Spool

from .conftest import RecordingTaker, mail, put, settlement


async def counted(db: Database) -> dict[str, int]:
    rows = await db.fetch("SELECT state, COUNT(*) AS n FROM recipients GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def test_mail_that_is_leased_but_not_begun_is_taken_from_its_node(
    spool: Spool, db: Database, account: Account
) -> None:
    spool.serve(RecordingTaker(takes=True))
    accepted = await put(spool, batch_code="news")
    assert accepted.handed_over
    taker = RecordingTaker(takes=True)
    spool.serve(taker)
    await put(spool, batch_code="news")
    await BatchStore(db).suspend("acme", "news")
    assert await counted(db) == {"suspended": 2}
    with pytest.raises(Held):
        await spool.begin(taker.taken[0], account)


async def test_what_is_begun_goes_on_and_its_result_counts(
    spool: Spool, db: Database, account: Account
) -> None:
    await put(spool)
    [delivery] = await spool.claim("acme/main", 10)
    assert await spool.begin(delivery, account) is None
    await BatchStore(db).suspend("acme", None)
    assert await counted(db) == {"sending": 1}
    await spool.settle(settlement(spool, delivery, State.SENT))
    assert await counted(db) == {"sent": 1}


async def test_mail_that_comes_back_from_an_attempt_waits_behind_the_gate(
    spool: Spool, db: Database, account: Account
) -> None:
    for code in ("news", "news", "bills"):
        await put(spool, batch_code=code)
    deliveries = await spool.claim("acme/main", 10)
    for delivery in deliveries:
        await spool.begin(delivery, account)
    await BatchStore(db).suspend("acme", "news")
    await spool.settle(settlement(spool, deliveries[0], State.DEFERRED, due_in_s=60))
    await spool.settle(Release(deliveries[1], spool.now()))
    await spool.settle(Release(deliveries[2], spool.now()))
    assert await counted(db) == {"suspended": 2, "queued": 1}
    await BatchStore(db).activate("acme", "news")
    assert await counted(db) == {"deferred": 1, "queued": 2}


async def test_a_great_batch_goes_in_portions_and_none_of_it_is_forgotten(
    spool: Spool, db: Database
) -> None:
    count = suspend.PORTION * 2 + 10
    mails = [mail(spool, batch_code="news" if i % 2 else None) for i in range(count)]
    await spool.accept_all(mails)
    standing = await BatchStore(db).suspend("acme", "news")
    assert (standing.suspended, standing.pending) == (("news",), count // 2)
    assert await counted(db) == {"suspended": count // 2, "queued": count // 2}
    await BatchStore(db).suspend("acme", None)
    assert await counted(db) == {"suspended": count}
    lanes: list[tuple[str, str]] = []
    db.on_signal(lambda topic, payload: lanes.append((topic, payload)))
    await BatchStore(db).activate("acme", None)
    assert await counted(db) == {"queued": count}
    while ("lane", "acme/main") not in lanes:
        await asyncio.sleep(0.01)


async def test_nothing_slips_through_while_mail_comes_in_and_goes_out(
    spool: Spool, db: Database, account: Account
) -> None:
    batches = BatchStore(db)

    async def work() -> None:
        for _ in range(10):
            await put(spool, batch_code="news")
            for delivery in await spool.claim("acme/main", 3):
                await spool.settle(Release(delivery, spool.now()))

    working = [asyncio.create_task(work()) for _ in range(5)]
    await asyncio.sleep(0)
    await batches.suspend("acme", "news")
    await asyncio.gather(*working)
    assert await counted(db) == {"suspended": 50}
    assert await spool.claim("acme/main", 10) == []


async def test_batches_of_other_codes_stay_suspended_when_one_is_activated(
    spool: Spool, db: Database
) -> None:
    batches = BatchStore(db)
    for code in ("news", "bills", None):
        await put(spool, batch_code=code)
    await batches.suspend("acme", "news")
    await batches.suspend("acme", "bills")
    standing = await batches.activate("acme", "news")
    assert standing.suspended == ("bills",)
    assert await counted(db) == {"suspended": 1, "queued": 2}
