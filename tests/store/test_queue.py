import asyncio
from dataclasses import replace
from typing import Any

import pytest

from relay.errors import Fenced, Refused
from relay.model import Account, OnUnknown, Priority, State, Tenant
from relay.store import nodes
from relay.store.database import TYPES, Database, Each, Query, Script, Value, types_of
from relay.store.messages import MessageStore
from relay.store.postgres import joined
from relay.store.queue import due
from relay.store.queue.claim import CLAIM
from relay.store.queue.settle import DROP_SETTLED, FINISH, HELD, SETTLE, Release
from relay.store.spool import Spool

from .conftest import RecordingTaker, mail, new_spool, put, settlement


async def states(db: Database, pk: str) -> list[str]:
    rows = await db.fetch("SELECT state FROM recipients WHERE message_pk = $1 ORDER BY n", pk)
    return [row["state"] for row in rows]


async def test_an_accepted_mail_is_due_with_content_and_event(spool: Spool, db: Database) -> None:
    accepted = await put(spool, "x@there.test", "y@there.test")
    view = await MessageStore(db).find("acme", accepted.pk)
    assert view is not None
    assert [r.address for r in view.recipients] == ["x@there.test", "y@there.test"]
    assert await states(db, accepted.pk) == ["queued", "queued"]
    assert [e.kind for e in await MessageStore(db).events(accepted.pk)] == ["accepted"]
    assert await spool.content(accepted.pk) == b"Subject: hello\r\n\r\nhi\r\n"


async def test_a_thousand_mails_of_one_call_are_one_commit(db: Database, acme: Tenant) -> None:
    commits = []
    spool = new_spool(db)
    spool = Spool(db, node_id="n", lease_s=60, on_commit=lambda _s, items: commits.append(items))
    await spool.start()
    answers = await spool.accept_all([mail(spool, id=f"m{i}") for i in range(1000)])
    await spool.close()
    assert len(answers) == 1000
    assert commits == [1]


async def test_mails_that_wait_for_a_commit_share_the_next_one(db: Database, acme: Tenant) -> None:
    commits: list[int] = []
    spool = Spool(db, node_id="n", lease_s=60, on_commit=lambda _s, items: commits.append(items))
    await spool.start()
    await asyncio.gather(*(put(spool) for _ in range(100)))
    await spool.close()
    assert sum(commits) == 100
    assert len(commits) <= 4


async def test_the_same_id_replaces_a_mail_that_nobody_has_begun(
    spool: Spool, db: Database
) -> None:
    first = await put(spool, "wrong@there.test", id="invoice-1")
    again = await put(spool, "right@there.test", id="invoice-1", content=b"Subject: new\r\n\r\n")
    assert (again.pk, again.replaced) == (first.pk, True)
    view = await MessageStore(db).find("acme", "invoice-1")
    assert view is not None
    assert [r.address for r in view.recipients] == ["right@there.test"]
    assert await spool.content(first.pk) == b"Subject: new\r\n\r\n"


async def test_the_same_id_is_already_sent_once_a_node_has_it(spool: Spool) -> None:
    await put(spool, id="invoice-1")
    await spool.claim("acme/main", 10)
    with pytest.raises(Refused) as refused:
        await put(spool, id="invoice-1")
    assert refused.value.reason == "already sent"


async def test_an_id_is_one_tenants_own(spool: Spool, db: Database, keyring: object) -> None:
    other = Tenant("other", "Other")
    from relay.store.tenants import TenantStore

    await TenantStore(db, keyring).save(other)  # type: ignore[arg-type]
    mine = await put(spool, id="1")
    theirs = await put(spool, id="1", tenant_id="other", lane="other/main")
    assert not theirs.replaced
    assert mine.pk != theirs.pk


async def test_a_mail_twice_in_one_call_is_stored_once(spool: Spool, db: Database) -> None:
    answers = await spool.accept_all(
        [mail(spool, "a@t.test", id="1"), mail(spool, "b@t.test", id="1")]
    )
    rows = await db.fetch("SELECT address FROM recipients")
    assert [row["address"] for row in rows] == ["b@t.test"]
    assert answers[0].pk == answers[1].pk  # type: ignore[union-attr]


async def test_an_inactive_tenant_is_refused_and_its_neighbour_is_not(
    spool: Spool, db: Database
) -> None:
    answers = await spool.accept_all(
        [mail(spool, tenant_id="nobody", lane="nobody/main"), mail(spool)]
    )
    assert isinstance(answers[0], Refused)
    assert not isinstance(answers[1], Refused)


async def test_a_claim_takes_priority_first_then_age(spool: Spool) -> None:
    low = await put(spool, priority=Priority.LOW)
    old = await put(spool)
    new = await put(spool)
    high = await put(spool, priority=Priority.IMMEDIATE)
    claimed = await spool.claim("acme/main", 10)
    assert [d.pk for d in claimed] == [high.pk, old.pk, new.pk, low.pk]


async def test_a_claim_never_cuts_a_message(spool: Spool) -> None:
    await put(spool, *(f"r{i}@there.test" for i in range(7)))
    await put(spool)
    claimed = await spool.claim("acme/main", 3)
    assert [len(d.pending) for d in claimed] == [7]
    assert claimed[0].content == b"Subject: hello\r\n\r\nhi\r\n"


async def test_two_claims_never_both_take_a_mail(db: Database, spool: Spool) -> None:
    other = new_spool(db, "node-2")
    await other.start()
    for _ in range(60):
        await put(spool)
    takers = [spool, other] * 10
    claimed = await asyncio.gather(*(s.claim("acme/main", 5) for s in takers))
    pks = [d.pk for deliveries in claimed for d in deliveries]
    await other.close()
    assert len(pks) == len(set(pks)) == 60


async def test_a_handed_over_mail_is_born_leased_and_sent_without_a_claim(
    spool: Spool, db: Database
) -> None:
    taker = RecordingTaker(takes=True)
    spool.serve(taker)
    accepted = await put(spool)
    assert [d.pk for d in taker.taken] == [accepted.pk]
    assert await states(db, accepted.pk) == ["sending"]
    assert await spool.claim("acme/main", 10) == []
    await spool.settle(settlement(spool, taker.taken[0], State.SENT))
    assert await states(db, accepted.pk) == ["sent"]


async def begun(db: Database, pk: str) -> list[bool]:
    rows = await db.fetch("SELECT begun_at FROM recipients WHERE message_pk = $1 ORDER BY n", pk)
    return [row["begun_at"] is not None for row in rows]


async def test_a_mail_for_which_a_connection_is_ready_is_stored_as_begun(
    spool: Spool, db: Database
) -> None:
    taker = RecordingTaker(takes=True, begins=True)
    spool.serve(taker)
    accepted = await put(spool, "a@t.test", "b@t.test")
    assert await begun(db, accepted.pk) == [True, True]
    assert [d.is_begun for d in taker.taken] == [True]
    # After a crash it counts as one that may have been sent.
    heir = new_spool(db, spool.node_id)
    await heir.start()
    estate = await heir.bury_dead()
    await heir.close()
    assert [d.pk for d in estate.in_doubt] == [accepted.pk]


@pytest.mark.parametrize(
    "what", [{"on_unknown": OnUnknown.REPORT}, {"max_attempts": 1}, {"is_prepared": False}]
)
async def test_a_mail_that_must_not_go_out_twice_or_is_not_complete_is_not_stored_as_begun(
    spool: Spool, db: Database, what: dict[str, Any]
) -> None:
    taker = RecordingTaker(takes=True, begins=True)
    spool.serve(taker)
    accepted = await put(spool, **what)
    assert await begun(db, accepted.pk) == [False]
    assert [d.is_begun for d in taker.taken] == [False]


async def test_a_mail_that_is_given_back_is_not_begun_any_more(spool: Spool, db: Database) -> None:
    taker = RecordingTaker(takes=True, begins=True)
    spool.serve(taker)
    accepted = await put(spool)
    await spool.settle(Release(taker.taken[0], spool.now()))
    assert await states(db, accepted.pk) == ["queued"]
    assert await begun(db, accepted.pk) == [False]


async def test_a_mail_for_later_is_not_handed_over_but_promoted(spool: Spool, db: Database) -> None:
    spool.serve(RecordingTaker(takes=True))
    accepted = await put(spool, due_at=spool.now() + 100)
    assert await states(db, accepted.pk) == ["deferred"]
    assert await db.write(lambda: due.promote(spool.now(), 100)) == []
    assert await db.write(lambda: due.promote(spool.now() + 101, 100)) == ["acme/main"]
    assert await states(db, accepted.pk) == ["queued"]


async def test_a_delivered_mail_leaves_no_content_and_a_final_event(
    spool: Spool, db: Database
) -> None:
    accepted = await put(spool)
    (delivery,) = await spool.claim("acme/main", 1)
    await spool.begin(delivery, Account("acme", "main", "h", 25))
    await spool.settle(settlement(spool, delivery, State.SENT))
    view = await MessageStore(db).find("acme", accepted.pk)
    assert view is not None
    assert view.final_at is not None
    assert await spool.content(accepted.pk) is None
    assert [e.kind for e in await MessageStore(db).events(accepted.pk)] == ["accepted", "sent"]


async def test_content_stays_while_one_recipient_is_open(spool: Spool, db: Database) -> None:
    accepted = await put(spool, "a@t.test", "b@t.test")
    (delivery,) = await spool.claim("acme/main", 9)
    end = settlement(spool, delivery, State.SENT)
    from dataclasses import replace

    later = replace(end.resolutions[1], state=State.DEFERRED, due_at=spool.now() + 60)
    await spool.settle(replace(end, resolutions=(end.resolutions[0], later)))
    assert await states(db, accepted.pk) == ["sent", "deferred"]
    assert await spool.content(accepted.pk) is not None
    view = await MessageStore(db).find("acme", accepted.pk)
    assert view is not None
    assert view.final_at is None


async def test_a_release_costs_no_attempt(spool: Spool, db: Database) -> None:
    accepted = await put(spool)
    (delivery,) = await spool.claim("acme/main", 1)
    await spool.settle(Release(delivery, spool.now()))
    assert await states(db, accepted.pk) == ["queued"]
    (again,) = await spool.claim("acme/main", 1)
    assert again.pending[0].attempts == 0


async def test_a_node_that_starts_again_takes_up_its_own_at_once(
    db: Database, spool: Spool
) -> None:
    idle = await put(spool)
    begun = await put(spool)
    claimed = await spool.claim("acme/main", 2)
    await spool.begin(claimed[1], Account("acme", "main", "h", 25))
    again = new_spool(db, "node-1")
    await again.start()
    estate = await again.bury_dead()
    assert estate.lanes == ("acme/main",)
    assert [d.pk for d in estate.in_doubt] == [begun.pk]
    assert await states(db, idle.pk) == ["queued"]
    await again.close()


async def test_a_living_neighbour_is_not_buried(db: Database, spool: Spool) -> None:
    await put(spool)
    await spool.claim("acme/main", 1)
    other = new_spool(db, "node-2")
    await other.start()
    estate = await other.bury_dead()
    await other.close()
    assert (estate.epochs, estate.lanes) == (0, ())


async def test_a_buried_node_can_write_no_result(db: Database, spool: Spool) -> None:
    accepted = await put(spool)
    (delivery,) = await spool.claim("acme/main", 1)
    other = new_spool(db, "node-2")
    await other.start()
    later = replace(other.desk(), now=spool.now() + 3600)
    await db.write(lambda: nodes.bury_dead(later, "node-2", 1, later.now))
    await other.close()
    with pytest.raises(Fenced):
        await spool.settle(settlement(spool, delivery, State.SENT))
    with pytest.raises(Fenced):
        await spool.begin(delivery, Account("acme", "main", "h", 25))
    with pytest.raises(Fenced):
        await spool.claim("acme/main", 1)
    assert await states(db, accepted.pk) == ["queued"]
    assert [e.kind for e in await MessageStore(db).events(accepted.pk)] == ["accepted"]


async def test_lanes_with_work_are_found_without_their_work(spool: Spool, db: Database) -> None:
    for lane in ("acme/b", "acme/a", "acme/b", "acme/c"):
        await put(spool, lane=lane)
    assert await due.lanes_with_work(db) == ["acme/a", "acme/b", "acme/c"]


async def test_expired_mail_is_leased_to_be_ended(spool: Spool, db: Database) -> None:
    dead = await put(spool, expires_at=spool.now() - 1)
    await put(spool, expires_at=spool.now() + 1000)
    await put(spool)
    found = await db.write(lambda: due.claim_expired(spool.desk(), spool.next_claim(), 10))
    assert [d.pk for d in found] == [dead.pk]


async def test_mail_past_the_default_lifetime_is_leased_to_be_ended(
    spool: Spool, db: Database
) -> None:
    old = await put(spool)
    cutoff = spool.now()
    young = await put(spool, accepted_at=cutoff + 1)
    number = spool.next_claim()
    found = await db.write(lambda: due.claim_old("acme/main", cutoff, spool.desk(), number, 10))
    assert [d.pk for d in found] == [old.pk]
    assert await states(db, young.pk) == ["queued"]


async def test_a_value_that_the_database_refuses_fails_alone(spool: Spool, db: Database) -> None:
    good, bad = mail(spool), mail(spool, message_id="\ud800")
    results = await asyncio.gather(spool.accept(good), spool.accept(bad), return_exceptions=True)
    assert not isinstance(results[0], BaseException)
    assert isinstance(results[1], BaseException)
    assert await states(db, good.pk) == ["queued"]


async def test_a_client_that_leaves_does_not_take_its_mail_along(
    spool: Spool, db: Database
) -> None:
    wanted = mail(spool)
    task = asyncio.create_task(spool.accept(wanted))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await put(spool)
    assert await states(db, wanted.pk) == ["queued"]


async def test_a_claim_reads_the_small_index_only(spool: Spool, db: Database) -> None:
    def crowd() -> Script[None]:
        for state, count in (("deferred", 3000), ("sent", 3000), ("queued", 200)):
            yield Each(CROWD, [(f"{state}{i:06}", i % 50, state) for i in range(count)])

    await db.write(crowd)
    if db.single_writer:
        steps = await db.fetch(f"EXPLAIN QUERY PLAN {CLAIM}", "acme/main", 10, 1, 1)
        plan = " ".join(str(row["detail"]) for row in steps)
        assert "TEMP B-TREE" not in plan
    else:
        await db.write(analyse)
        steps = await db.fetch(f"EXPLAIN {CLAIM}", "acme/main", 10, 1, 1)
        plan = " ".join(str(row[0]) for row in steps)
        assert "Sort" not in plan
        assert "Seq Scan" not in plan
    assert "recipients_due" in plan


async def test_a_result_is_written_without_a_look_at_what_else_the_node_has(
    spool: Spool, db: Database
) -> None:
    def crowd() -> Script[None]:
        yield Each(CROWD, [(f"m{i:06}", 0, "sending") for i in range(3000)])

    await db.write(crowd)
    if db.single_writer:
        steps = await db.fetch(f"EXPLAIN QUERY PLAN {HELD}", 1, ["m000001"])
        assert "recipients_leased" not in " ".join(str(row["detail"]) for row in steps)
    else:
        await db.write(analyse)
        steps = await db.fetch(f"EXPLAIN {HELD}", 1, ["m000001"])
        plan = " ".join(str(row[0]) for row in steps)
        assert "recipients_pkey" in plan
        assert "recipients_leased" not in plan


@pytest.mark.parametrize("sql", [SETTLE, FINISH, DROP_SETTLED])
async def test_what_a_result_ends_is_found_by_its_key_in_a_new_database(
    db: Database, sql: str
) -> None:
    mark = TYPES.search(sql)
    assert mark is not None
    if db.single_writer:
        steps = await db.fetch(f"EXPLAIN QUERY PLAN {sql}", *[None] * len(types_of(mark)))
        assert {str(row["detail"]).split()[0] for row in steps} == {"SEARCH"}
    else:
        arrays: list[Value] = [["1"] * 50 if name == "TEXT" else [] for name in types_of(mark)]
        steps = await db.fetch(f"EXPLAIN {joined((sql,))}", *arrays)
        assert "Seq Scan" not in " ".join(str(row[0]) for row in steps)


CROWD = """
INSERT INTO recipients (message_pk, n, address, state, lane, priority, due_at, attempts, unknowns)
VALUES ($1, $2, 'x@y.test', $3, 'acme/main', 2, 0, 0, 0)
"""


def analyse() -> Script[None]:
    yield Query("ANALYZE recipients")
