"""Mail that a node had when it died: suspected, put off, and cleared by a try that ends well."""

import pytest

from relay.model import Account, Delivery, Pending, State
from relay.store.database import Database
from relay.store.queue.aside import FaultPolicy
from relay.store.queue.settle import Release
from relay.store.spool import Spool

from .conftest import mail, put, settlement

POLICY = FaultPolicy((60.0, 300.0), 5)


async def life(db: Database) -> Spool:
    """Begin a life of the one node there is; its earlier lives are buried."""
    spool = Spool(db, node_id="n", lease_s=60, on_commit=lambda _s, _n: None, faults=POLICY)
    await spool.start()
    await spool.bury_dead()
    return spool


async def faults(db: Database, pk: str) -> tuple[str, int]:
    rows = await db.fetch("SELECT state, faults FROM recipients WHERE message_pk = $1", pk)
    return rows[0]["state"], rows[0]["faults"]


async def make_due(db: Database) -> None:
    await db.fetch("UPDATE recipients SET state = 'queued' WHERE state = 'deferred' RETURNING n")


@pytest.mark.usefixtures("acme")
async def test_what_was_leased_at_two_deaths_waits_and_more_deaths_are_not_laid_to_it(
    db: Database,
) -> None:
    spool = await life(db)
    pk = (await put(spool)).pk
    lives = [spool]
    for expected in [("queued", 1), ("deferred", 2), ("deferred", 2)]:
        await lives[-1].claim("acme/main", 1)
        lives.append(await life(db))
        assert await faults(db, pk) == expected
        await make_due(db)
    for each in lives:
        await each.close()


@pytest.mark.usefixtures("acme")
async def test_the_one_in_hand_is_charged_and_a_try_that_ends_well_clears_it(db: Database) -> None:
    spool = await life(db)
    mails = [mail(spool), mail(spool)]
    for new in mails:
        await spool.accept(new)
    deliveries: list[Delivery] = []
    lives = [spool]
    for _ in range(3):
        deliveries = await lives[-1].claim("acme/main", 2)
        if len(lives) == 3:
            break
        lives.append(await life(db))
        await make_due(db)
    in_hand, idle = deliveries
    await lives[-1].charge(in_hand)
    lives.append(await life(db))
    assert await faults(db, in_hand.pk) == ("deferred", 3)
    assert await faults(db, idle.pk) == ("deferred", 2)
    await make_due(db)
    again, other = await lives[-1].claim("acme/main", 2)
    await lives[-1].charge(again)
    await lives[-1].settle(settlement(lives[-1], again, State.SENT))
    assert await faults(db, in_hand.pk) == ("sent", 0)
    await lives[-1].charge(other)
    await lives[-1].settle(Release(other, 0))
    assert await faults(db, idle.pk) == ("queued", 2)
    for each in lives:
        await each.close()


@pytest.mark.usefixtures("acme")
async def test_what_was_begun_when_the_node_died_is_counted_too(db: Database) -> None:
    spool = await life(db)
    pk = (await put(spool)).pk
    (delivery,) = await spool.claim("acme/main", 1)
    await spool.begin(delivery, Account("acme", "main", "h", 25))
    again = Spool(db, node_id="n", lease_s=60, on_commit=lambda _s, _n: None, faults=POLICY)
    await again.start()
    estate = await again.bury_dead()
    assert [d.pending for d in estate.in_doubt] == [(Pending(0, "x@there.test", faults=1),)]
    assert await faults(db, pk) == ("sending", 1)
    for each in (spool, again):
        await each.close()
