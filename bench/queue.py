"""What a long queue costs: taking and settling one mail, starting, and memory, with few waiting and
with a million.

    python -m bench.queue [--waiting 1000 1000000] [--large] [--runs 5]

A mail is claimed with a hundred others, begun and settled as sent, each step committed, by the
queue that the node itself uses; nothing is sent. The stores are measured in turns, a hundred mails
each, and get as many new ones meanwhile, outside the clock. Then a Pillarbox starts on each, and
its memory is read while it sends. The queue is long by copies of one mail, and with --large ten
million wait in another store, of which only the cost is measured.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.command import Bench, scratch_folder
from bench.fill import LANE, original, spool_of
from bench.pillarbox import ACCOUNT, TENANT, Upstream
from bench.relays import running, sink_of, store
from bench.results import Check, Finding, Goal, Head, Row, ratios
from bench.sink import Sink
from relay.model import Account, Delivery, Outcome, State, Verdict
from relay.store.database import Database
from relay.store.queue.settle import Resolution, Settlement
from relay.store.spool import Spool
from tests.conftest import open_database
from tests.faults.filling import Stock, settle_down
from tests.vitals import forget_peak, peak_bytes

ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
LARGE = 10_000_000
AT_ONCE = 100
ROUNDS = 20
SENDING_S = 6.0

COST = Head(("store", "waiting", "ms/mail", "beside the shortest queue"))
LIFE = Head(("store", "waiting", "start to ready s", "peak MB while sending", "delivered/s"))
FLAT = Goal(1.15, "x", at_least=False)
START = Goal(5.0, "s", at_least=False)
# What the node holds at most of a queue, however long: 64 MB of mail that is next, 16 MB of SQLite.
WINDOW = Goal(80, "MB", at_least=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A store with so many mails waiting, and the home of the node that uses it."""

    waiting: int
    home: Path
    settings: dict[str, str]

    @property
    def url(self) -> str:
        return self.settings["PILLARBOX_DB"]


@dataclass(frozen=True, slots=True)
class Line:
    """A queue that is open."""

    database: Database
    spool: Spool
    stock: Stock

    async def close(self) -> None:
        await self.spool.close()
        await self.database.close()


@dataclass(frozen=True, slots=True)
class Life:
    start_s: float
    peak_bytes: int
    delivered_s: float


async def opened(place: Place, size_bytes: int) -> Line:
    database = await open_database(place.url)
    spool = spool_of(database)
    await spool.start()
    line = Line(database, spool, Stock(database))
    await line.stock.begin(spool, original(database.now(), size_bytes))
    await line.stock.add(place.waiting)
    await settle_down(place.url)
    return line


async def costs(places: Sequence[Place], options: argparse.Namespace) -> list[list[float]]:
    """Return the ms of one mail in each run, for each place; the first run is not counted."""
    lines = [await opened(place, options.size) for place in places]
    try:
        found = [await run_of(lines) for _ in range(options.runs + 1)]
    finally:
        for line in lines:
            await line.close()
    return [list(each) for each in zip(*found[1:], strict=True)]


async def run_of(lines: Sequence[Line]) -> list[float]:
    spent_s = [0.0] * len(lines)
    for _ in range(ROUNDS):
        for number, line in enumerate(lines):
            began_at = time.perf_counter()
            await take_and_settle(line.spool)
            spent_s[number] += time.perf_counter() - began_at
            await line.stock.add(AT_ONCE)
    return [each / (ROUNDS * AT_ONCE) * 1000 for each in spent_s]


async def take_and_settle(spool: Spool) -> None:
    account = Account(TENANT, ACCOUNT, "127.0.0.1", 25)
    deliveries = await spool.claim(LANE, AT_ONCE)
    if len(deliveries) != AT_ONCE:
        raise ValueError(f"{len(deliveries)} mails were due instead of {AT_ONCE}")
    await asyncio.gather(*(spool.begin(each, account) for each in deliveries))
    now = spool.now()
    await asyncio.gather(*(spool.settle(sent(each, now)) for each in deliveries))


def sent(delivery: Delivery, now: float) -> Settlement:
    reply = "2.0.0 taken"
    outcomes = [Outcome(p.n, Verdict.SENT, 250, "2.0.0", reply, "dot") for p in delivery.pending]
    resolutions = [
        Resolution(p.n, State.SENT, attempts=1, unknowns=0, due_at=now, code=250, reply=reply)
        for p in delivery.pending
    ]
    return Settlement(delivery, ACCOUNT, now, now, tuple(outcomes), tuple(resolutions))


async def live(place: Place, sink: Sink) -> Life:
    """Start a node on it and let it send for a while."""
    with running(place.home, place.settings) as process:
        forget_peak(process.pid)
        before, began_at = sink.mails, time.monotonic()
        await asyncio.sleep(SENDING_S)
        delivered_s = (sink.mails - before) / (time.monotonic() - began_at)
        return Life(process.start_s, peak_bytes(process.pid), delivered_s)


def made_place(stack: ExitStack, folder: Path, engine: str, waiting: int, sink: Sink) -> Place:
    """Make an empty store with the tenant whose mail will wait there."""
    folder.mkdir(mode=0o755)
    settings, _ = stack.enter_context(store(folder, engine))
    with running(folder, settings) as process:
        process.add_tenant(TENANT, Upstream(sink.port))
    return Place(waiting, folder, settings)


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    lengths = [*options.waiting, *([LARGE] if options.large else [])]
    lives: list[Row] = []
    wanted: list[Check] = []
    yield COST
    for engine in options.engines:
        with scratch_folder(options) as folder, sink_of(None) as sink, ExitStack() as stack:
            places = [made_place(stack, folder / str(n), engine, n, sink) for n in lengths]
            found = uvloop.run(costs(places, options))
            for place, each in zip(places, found, strict=True):
                beside = ratios(each, found[0])
                yield Row((ENGINES[engine], f"{place.waiting:,}", each, beside))
                if place is not places[0]:
                    what = f"{ENGINES[engine]}, {place.waiting:,} waiting: cost of a mail"
                    wanted.append(Check(f"{what} beside {lengths[0]:,}", beside, FLAT))
            started = [p for p in places if p.waiting < LARGE]
            run = [uvloop.run(live(place, sink)) for place in started]
            lives += [life_row(engine, *each) for each in zip(started, run, strict=True)]
            wanted += life_checks(ENGINES[engine], started, run)
    yield LIFE
    yield from lives
    yield from wanted


def life_row(engine: str, place: Place, life: Life) -> Row:
    figures = ([life.start_s], [life.peak_bytes / 1e6], [life.delivered_s])
    return Row((ENGINES[engine], f"{place.waiting:,}", *figures))


def life_checks(name: str, places: Sequence[Place], lives: Sequence[Life]) -> Iterator[Check]:
    few, many = places[0].waiting, places[-1].waiting
    yield Check(f"{name}, {many:,} waiting: start to ready", [lives[-1].start_s], START)
    more_mb = (lives[-1].peak_bytes - lives[0].peak_bytes) / 1e6
    what = f"{name}, {many:,} waiting: the node's memory over that with {few:,}"
    yield Check(what, [more_mb], WINDOW)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--size", type=int, default=512, help="bytes of a mail (512)")
    parser.add_argument(
        "--waiting", type=int, nargs="+", default=[1000, 1_000_000], help="lengths of the queue"
    )
    parser.add_argument("--large", action="store_true", help=f"a queue of {LARGE:,} too")
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=list(ENGINES))


BENCH = Bench("queue", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
