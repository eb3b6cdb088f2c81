"""Pillarbox beside Postfix, by SMTP: the same load on both, in alternating runs, to sinks alike.

    python -m bench.smtp [--pairs 5] [-n 3000] [--postfix default] [--database postgres] [--tls]

Accepted: mails a second until the last was answered. Delivered: until the last was at the sink.
Ours logs in on each connection, Postfix trusts loopback. With --tls mail comes and goes inside TLS.
Needs root, and Postfix installed.
"""

import argparse
import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import uvloop

from bench.certificate import client, issue
from bench.command import Bench, add_database, scratch_folder
from bench.cost import cpu_s, memory_bytes
from bench.figures import percentile_ms
from bench.load import Load, send
from bench.relays import Relay, Setup, pillarbox, postfix
from bench.results import Check, Finding, Goal, Head, Row, ratios

SIZES = (4096, 102400)
BIG_BYTES = 50_000
SETTLE_S = 0.3

HEAD = Head(
    (
        "mail",
        "relay",
        "accepted/s",
        "delivered/s",
        "CPU ms/mail",
        "memory MB",
        "answer p50 ms",
        "answer p99 ms",
    )
)
# Delivered, beside Postfix in the same minutes, by size and whether the connection is kept.
DELIVERED = {(4096, False): 2.0, (4096, True): 4.0, (102400, False): 1.5, (102400, True): 1.8}
CPU = {4096: 0.35, 102400: 0.5}


@dataclass(frozen=True, slots=True)
class Run:
    accepted_s: float
    delivered_s: float
    cpu_ms: float
    memory_mb: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Mail:
    """A kind of mail, and how many are sent in a run."""

    size_bytes: int
    keeps: bool
    count: int

    @property
    def name(self) -> str:
        kept = "kept" if self.keeps else "per mail"
        return f"{self.size_bytes // 1024} KB, connection {kept}"


def kinds(count: int) -> list[Mail]:
    """Return every kind of mail; of big ones a third is sent."""
    return [
        Mail(size_bytes, keeps, count // 3 if size_bytes > BIG_BYTES else count)
        for size_bytes in SIZES
        for keeps in (False, True)
    ]


async def measure(relay: Relay, mail: Mail, tls: ssl.SSLContext | None) -> Run:
    """Send mails through a relay. Raises TimeoutError when one is missing, ValueError when one
    came twice.
    """
    expected = relay.sink.mails + mail.count
    used_s = sum(map(cpu_s, relay.pids))
    load = Load(relay.port, mail.count, mail.size_bytes, mail.keeps, relay.login, tls)
    sent = await send(load)
    memory = sum(map(memory_bytes, relay.pids))
    delivered_at = await relay.sink.wait_for(expected)
    await asyncio.sleep(SETTLE_S)
    if relay.sink.mails != expected:
        raise ValueError(f"{relay.name}: {relay.sink.mails - expected} mails too many")
    return Run(
        accepted_s=mail.count / (sent.ended_at - sent.began_at),
        delivered_s=mail.count / (delivered_at - sent.began_at),
        cpu_ms=(sum(map(cpu_s, relay.pids)) - used_s) / mail.count * 1000,
        memory_mb=memory / 1e6,
        p50_ms=percentile_ms(sent.waits_s, 0.5),
        p99_ms=percentile_ms(sent.waits_s, 0.99),
    )


def in_turns(
    relays: Sequence[Relay], mail: Mail, turns: int, tls: ssl.SSLContext | None = None
) -> list[list[Run]]:
    """Return the runs of each relay: all take their turn, each time another one first."""
    found: dict[str, list[Run]] = {relay.name: [] for relay in relays}
    for turn in range(turns):
        first = turn % len(relays)
        for relay in (*relays[first:], *relays[:first]):
            found[relay.name].append(uvloop.run(measure(relay, mail, tls)))
    return list(found.values())


def of(runs: Sequence[Run], name: str) -> list[float]:
    return [getattr(run, name) for run in runs]


def beside(ours: Sequence[Run], theirs: Sequence[Run], name: str) -> list[float]:
    return ratios(of(ours, name), of(theirs, name))


def run_row(mail: Mail, relay: Relay, runs: Sequence[Run]) -> Row:
    return Row((mail.name, relay.name, *(of(runs, name) for name in Run.__slots__)))


def ratio_row(mail: Mail, name: str, ours: Sequence[Run], theirs: Sequence[Run]) -> Row:
    return Row((mail.name, name, *(beside(ours, theirs, each) for each in Run.__slots__)))


def checks(mail: Mail, ours: Sequence[Run], theirs: Sequence[Run]) -> Iterator[Check]:
    delivered, cpu = DELIVERED[mail.size_bytes, mail.keeps], CPU[mail.size_bytes]
    wanted = (
        ("delivered/s", "delivered_s", Goal(delivered, "x Postfix's")),
        ("CPU for each mail", "cpu_ms", Goal(cpu, "x Postfix's", at_least=False)),
        ("answer p99", "p99_ms", Goal(1.0, "x Postfix's", at_least=False)),
    )
    for what, name, goal in wanted:
        yield Check(f"{mail.name}: {what}", beside(ours, theirs, name), goal)


def compare(options: argparse.Namespace) -> Iterator[Finding]:
    """Yield the rows of each kind of mail, then what was wanted of it."""
    yield HEAD
    wanted: list[Check] = []
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(options))
        certificate = issue(folder) if options.tls else None
        tls = client() if options.tls else None
        setup = Setup(options.database, options.nodes, certificate)
        ours, _ = stack.enter_context(pillarbox(folder, setup))
        theirs = stack.enter_context(postfix(folder, options.postfix, certificate))
        for mail in kinds(options.n):
            our, their = in_turns((ours, theirs), mail, options.pairs, tls)
            yield run_row(mail, ours, our)
            yield run_row(mail, theirs, their)
            yield ratio_row(mail, "ratio", our, their)
            wanted += checks(mail, our, their)
    if not options.tls:
        yield from wanted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("-n", type=int, default=3000, help="mails a run (3000; a third at 100 KB)")
    parser.add_argument("--postfix", choices=("tuned", "default"), default="tuned")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of Pillarbox, on PostgreSQL")
    parser.add_argument("--tls", action="store_true", help="mail comes and goes inside TLS")
    add_database(parser)


BENCH = Bench("smtp", __doc__, add_options, compare)

if __name__ == "__main__":
    BENCH.main()
