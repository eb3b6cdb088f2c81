"""Pillarbox beside Postfix, by SMTP: the same load on both, in alternating runs, to sinks alike.

    python -m bench.smtp [--pairs 5] [-n 3000] [--postfix default] [--database postgres]

Accepted: mails a second until the last was answered. Delivered: until the last was at the sink.
Ours logs in on each connection, Postfix trusts loopback. Needs root, and Postfix installed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.cost import cpu_s, memory_bytes
from bench.figures import head, percentile_ms, ratio, row, shown
from bench.load import Load, send
from bench.relays import Relay, pillarbox, postfix

SIZES = (4096, 102400)
BIG_BYTES = 50_000
SETTLE_S = 0.3

TITLES = (
    "mail",
    "relay",
    "accepted/s",
    "delivered/s",
    "CPU ms/mail",
    "memory MB",
    "answer p50 ms",
    "answer p99 ms",
)


@dataclass(frozen=True, slots=True)
class Run:
    accepted_s: float
    delivered_s: float
    cpu_ms: float
    memory_mb: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Figures:
    """The runs of one relay with one kind of mail."""

    runs: list[Run] = field(default_factory=list)

    def of(self, name: str) -> list[float]:
        return [getattr(run, name) for run in self.runs]

    def shown(self) -> list[str]:
        return [shown(self.of(name)) for name in Run.__slots__]


async def measure(relay: Relay, mails: int, size_bytes: int, keeps: bool) -> Run:
    """Send so many mails through a relay. Raises TimeoutError when one is missing, ValueError when
    one came twice.
    """
    expected = relay.sink.mails + mails
    used_s = sum(map(cpu_s, relay.pids))
    sent = await send(Load(relay.port, mails, size_bytes, keeps, relay.login))
    memory = sum(map(memory_bytes, relay.pids))
    delivered_at = await relay.sink.wait_for(expected)
    await asyncio.sleep(SETTLE_S)
    if relay.sink.mails != expected:
        raise ValueError(f"{relay.name}: {relay.sink.mails - expected} mails too many")
    return Run(
        accepted_s=mails / (sent.ended_at - sent.began_at),
        delivered_s=mails / (delivered_at - sent.began_at),
        cpu_ms=(sum(map(cpu_s, relay.pids)) - used_s) / mails * 1000,
        memory_mb=memory / 1e6,
        p50_ms=percentile_ms(sent.waits_s, 0.5),
        p99_ms=percentile_ms(sent.waits_s, 0.99),
    )


def compare(
    ours: Relay, theirs: Relay, options: argparse.Namespace
) -> Iterator[tuple[str, Figures, Figures]]:
    """Measure each kind of mail in pairs of runs, the two taking turns to be first."""
    for size_bytes in SIZES:
        mails = options.n // 3 if size_bytes > BIG_BYTES else options.n
        for keeps in (False, True):
            figures = {ours.name: Figures(), theirs.name: Figures()}
            for pair in range(options.pairs):
                for relay in (ours, theirs) if pair % 2 else (theirs, ours):
                    run = uvloop.run(measure(relay, mails, size_bytes, keeps))
                    figures[relay.name].runs.append(run)
            mail = f"{size_bytes // 1024} KB, connection {'kept' if keeps else 'per mail'}"
            yield mail, figures[ours.name], figures[theirs.name]


def rows(mail: str, ours: Figures, theirs: Figures, names: Sequence[str]) -> Iterator[str]:
    yield row([mail, names[0], *ours.shown()])
    yield row([mail, names[1], *theirs.shown()])
    ratios = [ratio(ours.of(name), theirs.of(name)) for name in Run.__slots__]
    yield row([mail, "ratio", *ratios])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.smtp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("-n", type=int, default=3000, help="mails a run (3000; a third at 100 KB)")
    parser.add_argument("--postfix", choices=("tuned", "default"), default="tuned")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="the disk to use")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped even then
    print(head(TITLES), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        folder.chmod(0o755)
        ours, _ = stack.enter_context(pillarbox(folder, options.database))
        theirs = stack.enter_context(postfix(folder, options.postfix))
        for mail, our, their in compare(ours, theirs, options):
            print(*rows(mail, our, their, (ours.name, theirs.name)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
