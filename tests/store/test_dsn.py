"""Notifications are stored with the end that they tell of: once, whatever happens, and at no cost
to mail that ends well.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

import pytest

from relay.model import Delivery, Ingress, Outcome, State, Tenant, Verdict
from relay.store.database import Database, Query, Script, Together
from relay.store.delays import Patience, Round, warn_some
from relay.store.queue.gates import GATES
from relay.store.queue.notify import ORIGINALS, Postmaster, notify_of
from relay.store.queue.settle import (
    DROP_SETTLED,
    FINISH,
    HELD,
    INSERT_EVENT,
    SETTLE,
    Notice,
    Settlement,
    settle,
)
from relay.store.spool import Spool
from tests.fakes.database import ForgetfulDatabase

from .conftest import RecordingTaker, put, settlement

POSTMASTER = Postmaster("relay.test", "MAILER-DAEMON@relay.test", 50_000)
PATIENCE = Patience(10, 1000)


def spool_with_postmaster(db: Database) -> tuple[Spool, list[Notice]]:
    told: list[Notice] = []
    spool = Spool(
        db,
        node_id="node-1",
        lease_s=60,
        on_commit=lambda _seconds, _items: None,
        postmaster=POSTMASTER,
        on_notice=told.append,
    )
    return spool, told


@pytest.fixture
async def forgetful(
    db: Database, acme: Tenant
) -> AsyncIterator[tuple[Spool, list[Notice], ForgetfulDatabase]]:
    database = ForgetfulDatabase(db)
    spool, told = spool_with_postmaster(database)
    await spool.start()
    yield spool, told, database
    await spool.close()


@pytest.fixture
async def spool(
    forgetful: tuple[Spool, list[Notice], ForgetfulDatabase],
) -> Spool:
    return forgetful[0]


def do(sql: str) -> Script[None]:
    yield Query(sql)


async def claimed(spool: Spool, *to: str, **changes: object) -> Delivery:
    await put(spool, *to, ingress=Ingress.SMTP, **changes)
    [delivery] = await spool.claim("acme/main", 10)
    return delivery


async def dsns(db: Database) -> list[str]:
    rows = await db.fetch("SELECT pk FROM messages WHERE ingress = 'dsn' ORDER BY pk")
    return [row["pk"] for row in rows]


def failure(spool: Spool, delivery: Delivery) -> Settlement:
    outcomes = tuple(
        Outcome(p.n, Verdict.FAILED, 550, "5.1.1", "5.1.1 no", "rcpt") for p in delivery.pending
    )
    return replace(settlement(spool, delivery, State.FAILED), outcomes=outcomes)


async def test_an_end_whose_commit_was_not_answered_is_told_of_once(
    forgetful: tuple[Spool, list[Notice], ForgetfulDatabase], db: Database
) -> None:
    spool, told, database = forgetful
    end = failure(spool, await claimed(spool))
    database.answers_to_lose = 1
    with pytest.raises(Exception, match="broke at COMMIT"):
        await spool.settle(end)
    assert await spool.settle(end) is None
    assert len(await dsns(db)) == 1
    assert told == []


async def test_it_is_announced_when_it_is_committed(
    forgetful: tuple[Spool, list[Notice], ForgetfulDatabase], db: Database
) -> None:
    spool, told, _ = forgetful
    delivery = await claimed(spool, "a@there.test", "b@there.test")
    taker = RecordingTaker()
    spool.serve(taker)
    await spool.settle(failure(spool, delivery))
    [pk] = await dsns(db)
    assert told == [Notice(pk, delivery.pk, "acme", "acme/main", 2)]
    assert taker.noticed == ["acme/main"]


async def test_that_of_a_suspended_tenant_waits_with_its_other_mail(
    spool: Spool, db: Database
) -> None:
    delivery = await claimed(spool)
    await db.write(partial(do, """UPDATE tenants SET suspended_batches = '["*"]'"""))
    await spool.settle(failure(spool, delivery))
    sql = "SELECT state FROM recipients WHERE message_pk {among:$1}"
    assert [row["state"] for row in await db.fetch(sql, await dsns(db))] == ["suspended"]


async def test_portions_of_a_mail_that_end_together_are_told_of_together(
    forgetful: tuple[Spool, list[Notice], ForgetfulDatabase],
) -> None:
    spool, told, _ = forgetful
    delivery = await claimed(spool, "a@there.test", "b@there.test")
    halves = [replace(delivery, pending=(pending,)) for pending in delivery.pending]
    await asyncio.gather(*(spool.settle(failure(spool, half)) for half in halves))
    assert [notice.recipients for notice in told] == [2]


async def test_more_than_a_portion_is_told_of_in_full(spool: Spool, db: Database) -> None:
    for _ in range(120):
        await put(spool, ingress=Ingress.SMTP)
    deliveries = await spool.claim("acme/main", 200)
    await asyncio.gather(*(spool.settle(failure(spool, d)) for d in deliveries))
    assert len(await dsns(db)) == 120


async def test_the_tenant_may_be_gone(spool: Spool, db: Database) -> None:
    delivery = await claimed(spool)
    await db.write(partial(do, "DELETE FROM tenants WHERE id = 'acme'"))
    assert await spool.settle(failure(spool, delivery)) is None


async def test_mail_that_ends_well_costs_no_statement_more(spool: Spool) -> None:
    delivery = await claimed(spool)
    assert statements(settlement(spool, delivery, State.SENT)) == [
        HELD,
        SETTLE,
        INSERT_EVENT,
        FINISH,
        DROP_SETTLED,
    ]
    assert {GATES, ORIGINALS} <= set(statements(failure(spool, delivery)))


def statements(item: Settlement) -> list[str]:
    """Run the script of an end without a database; return what it says."""
    notify = partial(notify_of, postmaster=POSTMASTER, now=0.0)
    script, said, rows = settle([item], 1, 1, notify), [], None
    try:
        while True:
            step = script.send(rows)  # type: ignore[arg-type]
            parts = [p for p in step.parts if p.rows] if isinstance(step, Together) else [step]
            said += [part.sql for part in parts]
            rows = ROWS[said[-1]](item) if said[-1] in ROWS else []
    except StopIteration:
        return said


ROWS: dict[str, Callable[[Settlement], list[dict[str, object]]]] = {
    HELD: lambda item: [
        {"message_pk": item.delivery.pk, "n": p.n, "open_recipients": len(item.resolutions)}
        for p in item.delivery.pending
    ],
    GATES: lambda _item: [GATE],
}
GATE: dict[str, object] = {
    "id": "acme",
    "active": True,
    "suspended_batches": "[]",
    "rate_limits": None,
    "owner": None,
    "dsn": None,
    "is_called": False,
    "suppresses": False,
}


async def test_two_nodes_that_look_at_once_warn_once(spool: Spool, db: Database) -> None:
    await claimed(spool, "a@there.test")
    now = spool.now() + 100
    script = partial(warn_some, "acme", "", POSTMASTER, PATIENCE, now)
    rounds: list[Round] = await asyncio.gather(*(db.write(script) for _ in range(4)))
    assert sum(len(done.notices) for done in rounds) == 1
    assert len(await dsns(db)) == 1


@pytest.mark.parametrize(
    ("changes", "late"),
    [
        ({}, True),
        ({"due_at": 4e9}, False),
        ({"ingress": Ingress.REST}, False),
        ({"ingress": Ingress.DSN}, False),
    ],
)
async def test_mail_is_late_when_it_was_due_and_its_sender_may_hear(
    spool: Spool, db: Database, changes: dict[str, object], late: bool
) -> None:
    await put(spool, **{"ingress": Ingress.SMTP, **changes})
    early = partial(warn_some, "acme", "", POSTMASTER, PATIENCE, spool.now() + 5)
    assert (await db.write(early)).notices == ()
    script = partial(warn_some, "acme", "", POSTMASTER, PATIENCE, spool.now() + 100)
    assert bool((await db.write(script)).notices) == late


async def test_mail_that_is_held_back_is_not_late(spool: Spool, db: Database) -> None:
    await put(spool, ingress=Ingress.SMTP)
    await db.write(partial(do, "UPDATE recipients SET state = 'suspended'"))
    script = partial(warn_some, "acme", "", POSTMASTER, PATIENCE, spool.now() + 100)
    assert (await db.write(script)).notices == ()
