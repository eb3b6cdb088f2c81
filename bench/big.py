"""Mails of 25 MB, in and out, plain and inside TLS: how fast, how much memory, how long the event
loop is busy.

    python -m bench.big [--runs 3] [--size 25000000] [--at-once 1 4]

In: MB a second until all were answered 250. Out: from then until all were at the sink. Memory is
the largest resident set over the one before, in sizes of one mail. How late the loop is was
measured inside the process: how long whoever comes at any millisecond waits for a turn. The first
rows are of a node that does nothing, since on a busy machine every turn is late.
"""

import argparse
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.certificate import client, issue
from bench.command import Bench, scratch_folder
from bench.figures import percentile_ms
from bench.load import Load, send
from bench.pillarbox import Pillarbox
from bench.relays import Relay, Setup, pillarbox
from bench.results import Check, Finding, Goal, Head, Row
from bench.watched import lags_s
from tests.vitals import forget_peak, peak_bytes, resident_bytes

IDLE_S = 3.0

HEAD = Head(
    (
        "way",
        "mails at once",
        "in MB/s",
        "in and out MB/s",
        "memory, mails",
        "loop late p99 ms",
        "loop late, longest ms",
    )
)
MEMORY = Goal(3, "x its size", at_least=False)
STALL = Goal(50, "ms", at_least=False)


@dataclass(frozen=True, slots=True)
class Run:
    in_mb_s: float
    through_mb_s: float
    memory_mails: float
    late_p99_ms: float
    late_max_ms: float


@dataclass(frozen=True, slots=True)
class Kind:
    """So many mails of a size at once, in TLS or not."""

    at_once: int
    size_bytes: int
    tls: ssl.SSLContext | None

    @property
    def way(self) -> str:
        return "TLS" if self.tls else "plain"


async def send_through(relay: Relay, kind: Kind) -> tuple[float, float]:
    """Return how long it took (s) until all were answered, and until all had arrived."""
    expected = relay.sink.mails + kind.at_once
    load = Load(
        relay.port,
        kind.at_once,
        kind.size_bytes,
        keeps=False,
        login=relay.login,
        tls=kind.tls,
        sessions=kind.at_once,
    )
    sent = await send(load)
    arrived_at = await relay.sink.wait_for(expected)
    return sent.answered_at - sent.began_at, arrived_at - sent.began_at


def run_of(relay: Relay, process: Pillarbox, kind: Kind, lags: Path) -> Run:
    base = resident_bytes(process.pid)
    forget_peak(process.pid)
    began_at = time.monotonic()
    in_s, through_s = uvloop.run(send_through(relay, kind))
    late_s = lags_s(lags, began_at, time.monotonic())
    mb = kind.at_once * kind.size_bytes / 1e6
    return Run(
        in_mb_s=mb / in_s,
        through_mb_s=mb / through_s,
        memory_mails=(peak_bytes(process.pid) - base) / kind.size_bytes,
        late_p99_ms=percentile_ms(late_s, 0.99),
        late_max_ms=max(late_s) * 1000,
    )


def idle_row(way: str, lags: Path) -> Row:
    began_at = time.monotonic()
    time.sleep(IDLE_S)
    late_s = lags_s(lags, began_at, time.monotonic())
    return Row((way, "none", "", "", "", [percentile_ms(late_s, 0.99)], [max(late_s) * 1000]))


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    wanted: list[Check] = []
    for tls in (None, client()):
        with scratch_folder(options) as folder:
            lags = folder / "lags"
            setup = Setup(certificate=issue(folder) if tls else None, lags=lags)
            with pillarbox(folder, setup) as (relay, process):
                kinds = [Kind(count, options.size, tls) for count in options.at_once]
                yield idle_row(kinds[0].way, lags)
                for kind in kinds:
                    runs = [run_of(relay, process, kind, lags) for _ in range(options.runs)]
                    every = [[getattr(run, name) for run in runs] for name in Run.__slots__]
                    yield Row((kind.way, str(kind.at_once), *every))
                    wanted += checks(kind, runs)
    yield from wanted


def checks(kind: Kind, runs: list[Run]) -> Iterator[Check]:
    mails = f"{kind.at_once} at once" if kind.at_once > 1 else "one mail"
    what = f"{kind.size_bytes / 1e6:g} MB, {kind.way}, {mails}"
    if kind.at_once == 1:
        yield Check(f"{what}: memory", [run.memory_mails for run in runs], MEMORY)
    yield Check(f"{what}: longest stall", [run.late_max_ms for run in runs], STALL)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--size", type=int, default=25_000_000, help="bytes of a mail (25000000)")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4], help="mails (1, 4)")


BENCH = Bench("big", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
