"""What is forgotten, and what never is."""

from dataclasses import replace

from relay.model import Account, State, Tenant
from relay.store.database import Database
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.queue.orders import Order
from relay.store.retention import DAY_S, PORTION, UNDECIDED, RetentionStore, Rule
from relay.store.spool import Spool
from relay.store.sweeper import rule_of

from .conftest import mail, put, settlement

LATER = 1e9


def everything(db: Database, **changes: object) -> Rule:
    values = {"tenant_id": "acme", "ended_before": db.now() + LATER, **changes}
    return Rule(**values)  # type: ignore[arg-type]


async def end(spool: Spool, account: Account, state: State, *, keep: bool = False) -> None:
    for delivery in await spool.claim("acme/main", 5000):
        await spool.begin(delivery, account)
        ended = settlement(spool, delivery, state)
        await spool.settle(replace(ended, keeps_content=keep, reports=True))


async def count(db: Database, table: str) -> int:
    rows = await db.fetch(f"SELECT COUNT(*) AS n FROM {table}")
    return int(rows[0]["n"])


async def test_mail_that_is_not_final_is_never_forgotten(
    spool: Spool, db: Database, account: Account
) -> None:
    queued = await put(spool)
    await put(spool, due_at=spool.now() + 600)
    begun = await put(spool, lane="acme/other")
    [delivery] = await spool.claim("acme/other", 1)
    await spool.begin(delivery, account)
    await OrderStore(spool).give(Order.HOLD, "acme", [queued.pk])
    assert await RetentionStore(db).apply(everything(db, unreported=())) == 0
    assert await count(db, "messages") == 3
    await spool.settle(settlement(spool, delivery, State.SENT))
    assert await RetentionStore(db).apply(everything(db, unreported=())) == 1
    assert await MessageStore(db).find("acme", begun.pk) is None


async def test_what_waits_to_be_reported_stays_until_it_is(
    spool: Spool, db: Database, account: Account
) -> None:
    await put(spool)
    await end(spool, account, State.SENT)
    retention = RetentionStore(db)
    assert await retention.apply(everything(db)) == 0
    await db.fetch("UPDATE events SET report = 'done' WHERE report = 'waiting' RETURNING seq")
    assert await retention.apply(everything(db)) == 1
    for table in ("messages", "recipients", "events", "attempts", "contents"):
        assert await count(db, table) == 0, table


async def test_age_is_counted_from_the_end(spool: Spool, db: Database, account: Account) -> None:
    await put(spool)
    await end(spool, account, State.FAILED)
    retention = RetentionStore(db)
    young = everything(db, ended_before=db.now() - 60, unreported=())
    assert await retention.apply(young) == 0
    assert await retention.apply(everything(db, unreported=())) == 1


async def test_content_goes_by_a_time_of_its_own(
    spool: Spool, db: Database, account: Account
) -> None:
    await put(spool)
    await end(spool, account, State.SENT, keep=True)
    waiting = await put(spool)
    assert await count(db, "contents") == 2
    rule = everything(db, ended_before=db.now() - DAY_S, content_before=db.now() + 1)
    assert await RetentionStore(db).apply(rule) == 0
    assert await count(db, "contents") == 1
    assert await spool.content(waiting.pk) is not None


async def test_more_than_a_portion_goes_in_several(spool: Spool, db: Database) -> None:
    many = PORTION + 20
    answers = await spool.accept_all([mail(spool) for _ in range(many)])
    pks = [answer.pk for answer in answers]  # type: ignore[union-attr]
    await OrderStore(spool).give(Order.CANCEL, "acme", pks)
    assert await RetentionStore(db).apply(everything(db, unreported=())) == many


async def test_the_name_of_a_deleted_message_goes_with_its_last_event(
    spool: Spool, db: Database, account: Account
) -> None:
    accepted = await put(spool)
    await end(spool, account, State.SENT)
    await OrderStore(spool).give(Order.DELETE, "acme", [accepted.pk])
    retention = RetentionStore(db)
    await retention.apply(everything(db))
    assert (await count(db, "deleted_messages"), await count(db, "events")) == (1, 1)
    await db.fetch("UPDATE events SET report = 'done' WHERE report = 'waiting' RETURNING seq")
    await retention.apply(everything(db))
    assert (await count(db, "deleted_messages"), await count(db, "events")) == (0, 0)


def test_a_tenant_that_nobody_calls_has_nothing_to_report() -> None:
    silent = rule_of(Tenant("acme", "Acme"), 1000.0, 10.0)
    called = rule_of(Tenant("acme", "Acme", client_base_url="https://a.test"), 1000.0, 10.0)
    assert (silent.unreported, called.unreported) == ((), UNDECIDED)
    assert (silent.ended_before, silent.content_before) == (990.0, None)


def test_content_is_kept_as_long_as_the_tenant_says() -> None:
    rule = rule_of(Tenant("acme", "Acme", keep_content_days=2), 10 * DAY_S, 7 * DAY_S)
    assert (rule.ended_before, rule.content_before) == (3 * DAY_S, 8 * DAY_S)
    assert rule.accepted_before == 8 * DAY_S
