"""The outbox and the feed: one node at a time, nothing lost, nothing skipped."""

from collections.abc import Sequence

import pytest

from relay.crypto import Keyring
from relay.errors import Fenced
from relay.model import Tenant
from relay.store import nodes
from relay.store.database import Database, Each, Query, Script, Value
from relay.store.events import FEED, NEW, EventStore
from relay.store.migrate import migrate
from relay.store.outbox import BATCH, WAITING, Conclusion, Outbox, Receipt, Turn
from relay.store.postgres import PostgresDatabase, open_postgres
from relay.store.spool import Spool
from relay.store.tenants import TenantStore
from tests.store.conftest import new_spool

INSERT = """
INSERT INTO events (message_pk, seq, tenant_id, n, kind, at, data, report)
VALUES ($1, $2, $3, 0, 'sent', 0, '{}', 'waiting')
"""


def events(count: int, tenant_id: str = "acme", first: int = 1) -> Script[None]:
    rows: list[tuple[Value, ...]] = [
        (f"{tenant_id}-{n:06}", n, tenant_id) for n in range(first, first + count)
    ]
    yield Each(INSERT, rows)


@pytest.fixture
async def outbox(db: Database, spool: Spool, keyring: Keyring) -> Outbox:
    """An outbox whose tenant `acme` is called."""
    await TenantStore(db, keyring).save(Tenant("acme", "Acme", client_base_url="http://c.test"))
    return Outbox(db)


async def take(outbox: Outbox, spool: Spool, most: int = 10) -> Turn | None:
    now = spool.now()
    return await outbox.take("acme", spool.epoch, now, beat_at=now + 300, most=most)


async def taken(outbox: Outbox, spool: Spool, most: int = 10) -> Turn:
    turn = await take(outbox, spool, most)
    assert turn is not None
    return turn


async def due(outbox: Outbox, spool: Spool) -> list[str]:
    return [t.tenant_id for t in await outbox.due(spool.epoch, spool.now(), 100)]


def ids(turn: Turn) -> list[int]:
    return [event.seq for event in turn.events]


async def test_a_tenant_is_due_for_its_heartbeat_and_then_for_its_events(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    assert await due(outbox, spool) == ["acme"]
    turn = await taken(outbox, spool)
    assert turn.events == ()
    await outbox.conclude(turn, Receipt(spool.now()), Conclusion(spool.now() + 300))
    assert await due(outbox, spool) == []
    assert await take(outbox, spool) is None
    await db.write(lambda: events(1))
    assert await due(outbox, spool) == ["acme"]
    assert ids(await taken(outbox, spool)) == [1]


async def test_only_one_node_has_a_turn_and_another_takes_it_over_when_it_dies(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    other = new_spool(db, "node-2")
    await other.start()
    await db.write(lambda: events(1))
    turn = await taken(outbox, other)
    assert await due(outbox, spool) == []
    assert await take(outbox, spool) is None

    def die() -> Script[None]:
        yield Query(nodes.BURY, (other.epoch,))

    await db.write(die)
    assert await due(outbox, spool) == ["acme"]
    again = await taken(outbox, spool)
    assert [e.event_id for e in again.events] == [e.event_id for e in turn.events]
    done = Receipt(spool.now(), done=(turn.events[0].place,))
    with pytest.raises(Fenced):
        await outbox.acknowledge(turn, done)
    with pytest.raises(Fenced):
        await outbox.conclude(turn, done, Conclusion(0))
    assert await outbox.acknowledge(again, Receipt(spool.now())) == again.events
    await other.close()


async def test_a_turn_that_a_living_node_lost_sight_of_is_taken_again_by_it(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    await db.write(lambda: events(1))
    await taken(outbox, spool)
    assert await due(outbox, spool) == ["acme"]
    assert ids(await taken(outbox, spool)) == [1]


async def test_fewer_events_are_offered_after_failures(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    await db.write(lambda: events(100))
    for failures, offered in ((0, 64), (1, 32), (3, 8), (9, 1), (100, 1)):

        def fail(failures: int = failures) -> Script[None]:
            yield Query("UPDATE reporters SET failures = $1", (failures,))

        await db.write(fail)
        assert len((await taken(outbox, spool, 64)).events) == offered


async def test_run_now_during_a_call_is_not_forgotten(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    turn = await taken(outbox, spool)
    await outbox.make_due("acme")
    now = spool.now()
    await outbox.conclude(turn, Receipt(now), Conclusion(now + 300, now + 300, failures=1))
    assert await due(outbox, spool) == ["acme"]


async def test_a_tenant_that_failed_is_left_alone_until_its_wait_is_over(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    await db.write(lambda: events(1))
    turn, now = await taken(outbox, spool), spool.now()
    wait = Conclusion(now + 60, now + 60, failures=1, failing_since=now)
    await outbox.conclude(turn, Receipt(now), wait)
    assert await due(outbox, spool) == []
    assert [t.tenant_id for t in await outbox.due(spool.epoch, now + 61, 10)] == ["acme"]
    again = await outbox.take("acme", spool.epoch, now + 61, beat_at=now + 300, most=10)
    assert again
    assert again.failures == 1
    assert again.failing_since == pytest.approx(now)


async def test_what_is_old_is_given_up_and_what_is_young_is_not(
    db: Database, outbox: Outbox, spool: Spool
) -> None:
    await db.write(lambda: events(4))
    turn = await taken(outbox, spool)
    held = Receipt(spool.now(), held=(turn.events[0].place, turn.events[3].place))
    await outbox.acknowledge(turn, held)
    assert await outbox.give_up(turn, 2e-6) == 2
    await outbox.conclude(turn, Receipt(spool.now()), Conclusion(0))
    assert ids(await taken(outbox, spool)) == [3, 4]


async def test_those_that_answer_are_due_before_those_that_do_not(
    db: Database, outbox: Outbox, spool: Spool, keyring: Keyring
) -> None:
    store = TenantStore(db, keyring)
    for tenant_id in ("aaa", "zzz"):
        await store.save(Tenant(tenant_id, tenant_id, client_base_url="http://c.test"))

    def fail() -> Script[None]:
        yield Query("UPDATE reporters SET failures = 3 WHERE tenant_id = 'aaa'")

    await db.write(fail)
    assert (await due(outbox, spool))[-1] == "aaa"


async def test_the_feed_numbers_each_event_once_whoever_reads(db: Database, spool: Spool) -> None:
    await db.write(lambda: events(250))
    store = EventStore(db)
    seen: list[int] = []
    after = 0
    while page := await store.feed("acme", after, 100):
        seen += [event.seq for event in page]
        after = page[-1].number
    assert seen == list(range(1, 251))
    assert after == 250
    assert [e.number for e in await EventStore(db).feed("acme", 0, 1000)] == list(range(1, 251))


async def test_an_event_whose_transaction_is_still_open_comes_later_and_is_not_skipped(
    postgres_dsn: str,
) -> None:
    db = await open_postgres(postgres_dsn)
    await migrate(db)
    slow = await db._pool.acquire()
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, "slow", 1, "acme")
    await db.write(lambda: events(1, first=2))
    store = EventStore(db)
    first = await store.feed("acme", 0, 10)
    assert [e.seq for e in first] == [2]
    await transaction.commit()
    await db._pool.release(slow)
    assert [e.seq for e in await store.feed("acme", first[-1].number, 10)] == [1]
    await db.close()


def crowd() -> Script[None]:
    for n in range(50):
        yield from events(40, f"t{n:02}", first=n * 40)
    yield Query("ANALYZE events")


@pytest.mark.parametrize(
    ("sql", "values", "index"),
    [
        (WAITING, (), "events_outbox"),
        (BATCH, ("t07", 10), "events_outbox"),
        (FEED, ("t07", 0, 10), "events_feed"),
        (NEW, ("t07", 10), "events_feed"),
    ],
    ids=["waiting", "batch", "feed", "new"],
)
async def test_reading_the_outbox_costs_the_same_whatever_waits_behind(
    db: Database, spool: Spool, sql: str, values: Sequence[Value], index: str
) -> None:
    await db.write(crowd)
    explain = "EXPLAIN" if isinstance(db, PostgresDatabase) else "EXPLAIN QUERY PLAN"
    steps = await db.fetch(f"{explain} {sql}", *values)
    column = 0 if isinstance(db, PostgresDatabase) else "detail"
    plan = "\n".join(str(row[column]) for row in steps)
    assert index in plan, plan
    assert "Seq Scan on events" not in plan, plan
    assert "TEMP B-TREE" not in plan, plan
    assert "Sort" not in plan, plan
