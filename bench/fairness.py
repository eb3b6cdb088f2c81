"""One tenant's mail while another's queue is full: how long a single mail takes to the wire.

    python -m bench.fairness [--queued 100000] [-n 200] [--database postgres]

A hundred thousand mails of the hot tenant wait when Pillarbox starts, and leave as fast as it can
send. Meanwhile another tenant, with an account of its own, gives one mail every 100 ms by SMTP; the
time runs from its 250 until the upstream has the last byte of the mail. Both leave by the same
node. The same without any other mail stands beside it.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from bench.command import Bench, add_database, scratch_folder
from bench.figures import percentile_ms
from bench.fill import original, spool_of
from bench.load import Load, send
from bench.pillarbox import TENANT, Login, Pillarbox, Upstream
from bench.relays import running, sink_of, store
from bench.results import Check, Finding, Goal, Head, Row
from bench.sink import Sink
from bench.taker import Taker
from tests.conftest import open_database
from tests.faults.filling import Stock, settle_down
from tests.peers.private_postfix import free_ports

SINGLE = "single"
EVERY_S = 0.1
ARRIVE_S = 60
MAIL_BYTES = 4096

HEAD = Head(
    (
        "the other tenant",
        "its mails/s meanwhile",
        "250 to wire p50 ms",
        "250 to wire p99 ms",
        "longest ms",
    )
)
ON_THE_WIRE = Goal(100, "ms", at_least=False)


@dataclass(frozen=True, slots=True)
class Run:
    """How long each single mail took, and what the hot tenant sent in that time."""

    waits_s: list[float]
    hot_s: float

    def row(self, other: str) -> Row:
        p50, p99 = percentile_ms(self.waits_s, 0.5), percentile_ms(self.waits_s, 0.99)
        return Row((other, [self.hot_s], [p50], [p99], [max(self.waits_s) * 1000]))


async def singles(process: Pillarbox, login: Login, sink: Sink, port: int, mails: int) -> Run:
    """Give one mail after another, each when the time has come and the one before has arrived."""
    arrived: asyncio.Queue[float] = asyncio.Queue()

    def on_mail(_sender: bytes) -> None:
        arrived.put_nowait(time.monotonic())

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Taker(on_mail), "127.0.0.1", port)
    load = Load(process.smtp_port, 1, MAIL_BYTES, keeps=False, login=login, sessions=1)
    waits_s = []
    hot_before, began_at = sink.mails, time.monotonic()
    for number in range(mails):
        await asyncio.sleep(began_at + number * EVERY_S - time.monotonic())
        sent = await send(load)
        async with asyncio.timeout(ARRIVE_S):
            # It may be there before its 250 is: both leave once it is on the disk.
            waits_s.append(max(0.0, await arrived.get() - sent.answered_at))
    hot_s = (sink.mails - hot_before) / (time.monotonic() - began_at)
    server.close()
    return Run(waits_s, hot_s)


async def queue_up(url: str, mails: int) -> None:
    """Have the hot tenant's mail wait in the store of a node that does not run."""
    database = await open_database(url)
    spool = spool_of(database)
    await spool.start()
    stock = Stock(database)
    await stock.begin(spool, original(database.now(), MAIL_BYTES))
    await stock.add(mails)
    await spool.close()
    await database.close()
    await settle_down(url)


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    [port] = free_ports(1)
    with (
        scratch_folder(options) as folder,
        sink_of(None) as sink,
        store(folder, options.database) as (settings, _),
    ):
        with running(folder, settings) as process:
            process.add_tenant(TENANT, Upstream(sink.port))
            login = process.add_tenant(SINGLE, Upstream(port))
            alone = uvloop.run(singles(process, login, sink, port, options.n))
        yield alone.row("sends nothing")
        before = sink.mails
        uvloop.run(queue_up(settings["PILLARBOX_DB"], options.queued))
        with running(folder, settings) as process:
            beside = uvloop.run(singles(process, login, sink, port, options.n))
            left = options.queued - (sink.mails - before)
        if left <= 0:
            raise ValueError("the queue was empty too soon: give it more mails (--queued)")
        yield beside.row(f"had {options.queued:,} queued, {left:,} at the end")
    what = f"a single mail beside {options.queued:,}: 250 to wire p99"
    yield Check(what, [percentile_ms(beside.waits_s, 0.99)], ON_THE_WIRE)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queued", type=int, default=100_000, help="mails that wait (100000)")
    parser.add_argument("-n", type=int, default=200, help="single mails (200)")
    add_database(parser)


BENCH = Bench("fairness", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
