"""A commit whose answer was lost: nothing is written twice, nothing is stuck."""

from collections.abc import AsyncIterator

import pytest

from relay.errors import StoreUnavailable
from relay.model import Account, State, Tenant
from relay.store.database import Database
from relay.store.messages import MessageStore
from relay.store.spool import Spool
from tests.fakes.database import ForgetfulDatabase

from .conftest import RecordingTaker, new_spool, put, settlement

ACCOUNT = Account("acme", "main", "h", 25)


@pytest.fixture
async def forgetful(db: Database, acme: Tenant) -> AsyncIterator[tuple[Spool, ForgetfulDatabase]]:
    database = ForgetfulDatabase(db)
    spool = new_spool(database)
    await spool.start()
    yield spool, database
    await spool.close()


Forgetful = tuple[Spool, ForgetfulDatabase]


async def test_a_result_that_is_written_again_counts_once(
    forgetful: Forgetful, db: Database
) -> None:
    spool, database = forgetful
    accepted = await put(spool, "a@t.test", "b@t.test")
    (delivery,) = await spool.claim("acme/main", 9)
    await spool.begin(delivery, ACCOUNT)
    end = settlement(spool, delivery, State.SENT)
    database.answers_to_lose = 1
    with pytest.raises(StoreUnavailable):
        await spool.settle(end)
    await spool.settle(end)
    messages = MessageStore(db)
    assert [e.kind for e in await messages.events(accepted.pk)] == ["accepted", "sent", "sent"]
    rows = await db.fetch("SELECT open_recipients, final_at FROM messages")
    assert rows[0]["open_recipients"] == 0
    assert rows[0]["final_at"] is not None


async def test_a_claim_whose_answer_was_lost_is_due_again(forgetful: Forgetful) -> None:
    spool, database = forgetful
    accepted = await put(spool)
    database.answers_to_lose = 1
    with pytest.raises(StoreUnavailable):
        await spool.claim("acme/main", 9)
    assert await spool.claim("acme/main", 9) == []
    assert await spool.end_doubts() == ["acme/main"]
    assert await spool.end_doubts() == []
    (delivery,) = await spool.claim("acme/main", 9)
    assert delivery.pk == accepted.pk


@pytest.mark.parametrize("begins", [False, True])
async def test_mail_whose_commit_was_not_answered_is_found_and_due(
    forgetful: Forgetful, begins: bool
) -> None:
    spool, database = forgetful
    taker = RecordingTaker(takes=True, begins=begins)
    spool.serve(taker)
    database.answers_to_lose = 1
    accepted = await put(spool)
    assert taker.taken == []
    assert taker.cancelled == ["acme/main"]
    assert await spool.end_doubts() == ["acme/main"]
    assert [d.pk for d in await spool.claim("acme/main", 9)] == [accepted.pk]


@pytest.mark.parametrize("begins", [False, True])
async def test_mail_whose_commit_comes_late_is_due_all_the_same(
    forgetful: Forgetful, begins: bool
) -> None:
    spool, database = forgetful
    spool.serve(RecordingTaker(takes=True, begins=begins))
    database.writes_to_hold = 1
    with pytest.raises(StoreUnavailable):
        await put(spool)
    assert await spool.end_doubts() == []
    await database.land()
    assert await spool.end_doubts() == ["acme/main"]
    assert len(await spool.claim("acme/main", 9)) == 1
