"""A queue that is long: a million wait (every day, a hundred thousand). Nothing that is done again
and again looks at all of them, and a node starts, answers and sends as if few did.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from relay.crypto import Keyring
from relay.ingress.backlog import WAITING as OPEN
from relay.model import Envelope, Ingress, NewMail, Recipient, State, Tenant, lane_of, new_pk
from relay.store import delays, late, outbox
from relay.store.database import Database, Value
from relay.store.events import WAITING as REPORTED
from relay.store.migrate import migrate
from relay.store.queue import claim, due
from relay.store.queue.depth import DEFERRED, QUEUED, depth
from relay.store.slices import SLICE
from relay.store.spool import Spool
from relay.store.sqlite import bound, compiled
from relay.store.tenants import TenantStore
from tests.conftest import open_database, postgres_programs
from tests.faults.filling import Filling, Stock, settle_down
from tests.faults.house import House
from tests.faults.selection import EVERYTHING, on_stores
from tests.process import ServeProcess
from tests.scenarios.siege import Watchman
from tests.store.conftest import mail, new_spool
from tests.vitals import forget_peak, peak_bytes, resident_bytes
from tests.waiting import until

WAITING = 1_000_000 if EVERYTHING else 100_000
# What one statement may look at: a portion, and what belongs to it.
ROWS = 50_000
STEPS_OF_A_ROW = 5
STEPS_AT_ONCE = 100
# On a machine that is busy otherwise, twice what it takes where nothing waits.
START_S = 5.0
LAG_S = 2.0
# Mail that is next (64 MB), the pages that SQLite keeps (16 MB), and what reading them takes.
BUDGET_BYTES = 112 << 20
LANE = lane_of("acme", "main", "acme.test")
FAR_S = 1e9

EVERYTHING_COUNTED = "SELECT COUNT(*) FROM recipients WHERE attempts >= 0", ()

Statement = tuple[str, tuple[Value, ...]]


def repeated(now: float) -> Iterator[tuple[str, Statement]]:
    """Return what a node asks again and again."""
    every = new_pk(now)
    yield "when is the first due", (due.NEXT_DUE, ())
    yield "make due", (due.PROMOTE, (now, 500))
    yield "which lanes have work", (due.LANES, ())
    yield "claim", (claim.CLAIM, (LANE, 100, 1, 1))
    yield "what has expired", (due.CLAIM_EXPIRED, (now, 100, 1, 2))
    yield "what is too old", (due.CLAIM_OLD, (LANE, 2, new_pk(now - 9e5), 100, 1, 3))
    yield "who has something to say", (outbox.WAITING, ())
    yield "what must wait for what is held", (outbox.HOLD_FOLLOWERS, ("acme", 1000))
    yield "what is said next", (outbox.BATCH, ("acme", 1000))
    yield "who has late mail", (late.TENANTS, (now,))
    yield "where a look at delays ends", (delays.END, ("acme", "", every, 4999))


async def counted(database: Database) -> AsyncIterator[tuple[str, Statement]]:
    """Return how a slice is counted of all that is counted."""
    for index in (QUEUED, DEFERRED, REPORTED, OPEN):
        of = ("acme",) if index.is_of_one else ()
        yield f"the end of {index.where}", (index.end, (*of, *index.start, SLICE - 1))
        for end in await database.fetch(index.end, *of, *index.start, SLICE - 1):
            last = [end[n] for n in range(len(index.key))]
            yield f"how much is {index.where}", (index.count, (*of, *index.start, *last, SLICE))


async def make_tenant(url: str) -> None:
    database = await open_database(url)
    await migrate(database)
    await TenantStore(database, Keyring([secrets.token_bytes(32)])).save(Tenant("acme", "Acme"))
    await database.close()


async def fill(url: str, filling: Filling) -> None:
    """Have that much wait, of one tenant."""
    database = await open_database(url)
    spool = new_spool(database)
    await spool.start()
    stock = Stock(database, filling)
    await stock.begin(spool, letter(spool))
    await stock.add(WAITING)
    await spool.close()
    await database.close()
    await settle_down(url)


def letter(spool: Spool) -> NewMail:
    to = Envelope("app@acme.test", (Recipient(0, "bob@sink.test"),))
    return replace(mail(spool, lane=LANE, ingress=Ingress.SMTP), envelope=to)


@pytest.mark.slow
@pytest.mark.timeout(900 if EVERYTHING else 120)
@pytest.mark.parametrize("state", [State.QUEUED, State.DEFERRED])
async def test_what_is_asked_again_and_again_looks_at_a_portion_only(
    state: State, database_url: str
) -> None:
    await make_tenant(database_url)
    await fill(database_url, Filling(state, wait_s=FAR_S / 2, is_reported=True))
    database = await open_database(database_url)
    try:
        waiting = (await depth(database)).by_state
        # The mail that all are copies of waits too.
        assert waiting[state] - (state is State.DEFERRED) == WAITING
        statements = dict(repeated(database.now()))
        statements |= {name: statement async for name, statement in counted(database)}
        looked_at = {
            name: await rows_of(database, database_url, *statement)
            for name, statement in statements.items()
        }
        all_of_it = await rows_of(database, database_url, *EVERYTHING_COUNTED)
    finally:
        await database.close()
    assert all_of_it > ROWS, "the measure does not see what looks at everything"
    assert {name: rows for name, rows in looked_at.items() if rows > ROWS} == {}


async def rows_of(database: Database, url: str, sql: str, values: Sequence[Value]) -> int:
    """Return about how many rows a statement looks at."""
    if url.startswith("sqlite:"):
        return sqlite_steps(url.removeprefix("sqlite:"), sql, tuple(values)) // STEPS_OF_A_ROW
    [plan] = await database.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
    return planned_rows(json.loads(plan[0])[0]["Plan"])


def sqlite_steps(path: str, sql: str, values: tuple[Value, ...]) -> int:
    """Run it on a connection of its own; return the instructions of SQLite's machine."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    text, order = compiled(sql)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_progress_handler(tick, STEPS_AT_ONCE)
        connection.execute("BEGIN")
        connection.execute(text, bound(values, order)).fetchall()
        connection.execute("ROLLBACK")
    return ticks * STEPS_AT_ONCE


def planned_rows(node: dict[str, object]) -> int:
    """Add up what each step of a plan has read, also what it then threw away."""
    own = sum(
        float(str(node.get(name, 0))) for name in ("Actual Rows", "Rows Removed by Filter")
    ) * float(str(node.get("Actual Loops", 1)))
    below = node.get("Plans", [])
    assert isinstance(below, list)
    return int(own) + sum(planned_rows(child) for child in below)


@pytest.mark.slow
@pytest.mark.timeout(900 if EVERYTHING else 120)
@pytest.mark.parametrize("store", [store for _, store in on_stores("start")])
async def test_a_node_starts_answers_and_sends_as_if_few_were_waiting(
    store: str,
    tmp_path: Path,
    postgres_server: str,
    record_property: Callable[[str, object], None],
) -> None:
    assert postgres_programs()
    async with House(tmp_path, store, postgres=postgres_server) as house:
        node = house.nodes[0]
        assert node.process
        base = resident_bytes(node.process.pid)
        assert await node.terminate(40) == 0
        empty_s = await started_s(node)
        assert await node.terminate(40) == 0
        await fill(house.url, Filling())
        start_s = await started_s(node)
        pid = node.process.pid
        forget_peak(pid)
        async with Watchman(node) as watchman:
            await until(lambda: has_sent(house, 500), timeout_s=30, every_s=0.1)
            metrics = (await node.client.get("/metrics")).text
            status = (await node.client.get("/status")).json()
        more_bytes = peak_bytes(pid) - base
        record_property("start_s", f"{start_s:.2f}, {empty_s:.2f} where nothing waits")
        record_property("longest_wait_s", watchman.longest_s)
        record_property("more_bytes", more_bytes)
    assert start_s < max(START_S, empty_s * 2)
    assert watchman.longest_s < LAG_S
    assert more_bytes < BUDGET_BYTES
    assert status["queue"]["queued"] > WAITING * 0.8
    assert "pillarbox_queue_recipients" in metrics


async def started_s(node: ServeProcess) -> float:
    """Start it; return how long that took."""
    began_at = time.monotonic()
    await node.start()
    return time.monotonic() - began_at


async def has_sent(house: House, mails: int) -> bool:
    house.collect()
    return len(house.sinks["acme"].ledger.mails) >= mails
