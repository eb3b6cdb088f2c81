"""Pillarbox by REST: `add-messages` with one message a call, and with fifty.

    python -m bench.rest [--runs 3] [-n 3000] [--size 4096] [--database postgres]

First as much as it takes: twenty connections, each with one call under way. Delivered: messages a
second until the last was at the sink. Then by an open loop: calls at a fixed rate, at times that
were drawn beforehand and that no answer moves, on the same twenty connections; a wait counts from
the call's time, so that it holds what it waited for a free connection. The rate goes up until the
p99 is over 50 ms twice. A refused call, or a message that is missing at the sink, ends the
measurement.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import uvloop

from bench.call import bodies, messages, post_all, post_at
from bench.command import Bench, add_database, scratch_folder
from bench.cost import cpu_s, memory_bytes
from bench.figures import percentile_ms
from bench.pillarbox import Pillarbox
from bench.relays import Relay, Setup, pillarbox
from bench.results import Check, Finding, Goal, Head, Row
from bench.schedule import arrivals, highest_rate

BATCHES = (1, 50)
P99_MS = 50.0
LEAST_CALLS = 50

CLOSED = Head(
    (
        "messages a call",
        "calls/s",
        "messages/s",
        "delivered/s",
        "CPU ms/message",
        "memory MB",
        "call p50 ms",
        "call p99 ms",
    )
)
OPEN = Head(("messages a call", "calls/s offered", "messages/s", "call p50 ms", "call p99 ms"))
MESSAGES_S = {1: Goal(3000, "messages/s"), 50: Goal(8000, "messages/s")}


@dataclass(frozen=True, slots=True)
class Run:
    calls_s: float
    messages_s: float
    delivered_s: float
    cpu_ms: float
    memory_mb: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Step:
    """A rate that was offered, and how long the calls took from the times that they were due at."""

    rate_s: float
    waits_s: list[float]


async def as_much_as_it_takes(
    relay: Relay, process: Pillarbox, waiting: list[bytes], mails: int
) -> Run:
    expected = relay.sink.mails + mails
    used_s = sum(map(cpu_s, relay.pids))
    began_at = time.monotonic()
    waits_s = await post_all(process, waiting)
    ended_at = time.monotonic()
    memory = sum(map(memory_bytes, relay.pids))
    delivered_at = await relay.sink.wait_for(expected)
    return Run(
        calls_s=len(waiting) / (ended_at - began_at),
        messages_s=mails / (ended_at - began_at),
        delivered_s=mails / (delivered_at - began_at),
        cpu_ms=(sum(map(cpu_s, relay.pids)) - used_s) / mails * 1000,
        memory_mb=memory / 1e6,
        p50_ms=percentile_ms(waits_s, 0.5),
        p99_ms=percentile_ms(waits_s, 0.99),
    )


async def offer(
    relay: Relay, process: Pillarbox, times: Sequence[float], waiting: Sequence[bytes], mails: int
) -> list[float]:
    expected = relay.sink.mails + mails
    waits_s = await post_at(process, times, waiting)
    await relay.sink.wait_for(expected)
    return waits_s


class Steps:
    """The rates that were tried with one size of a batch."""

    def __init__(
        self, relay: Relay, process: Pillarbox, batch: int, options: argparse.Namespace
    ) -> None:
        self._relay = relay
        self._process = process
        self._batch = batch
        self._options = options
        self._names = count()
        self.tried: list[Step] = []

    def is_good(self, rate_s: float) -> bool:
        """Say whether it is good at once, or when it is tried again: others may use the machine."""
        return self._try(rate_s) or self._try(rate_s)

    def _try(self, rate_s: float) -> bool:
        number = next(self._names)
        times = arrivals(rate_s, max(self._options.seconds, LEAST_CALLS / rate_s), seed=number)
        mails = len(times) * self._batch
        run = f"open-{self._batch}-{number}"
        waiting = bodies(messages(run, mails, self._options.size), self._batch)
        waits_s = uvloop.run(offer(self._relay, self._process, times, waiting, mails))
        self.tried.append(Step(rate_s, waits_s))
        return percentile_ms(waits_s, 0.99) <= P99_MS


def closed(relay: Relay, process: Pillarbox, batch: int, options: argparse.Namespace) -> list[Run]:
    runs = []
    for number in range(options.runs):
        made = messages(f"closed-{batch}-{number}", options.n, options.size)
        waiting = bodies(made, batch)
        runs.append(uvloop.run(as_much_as_it_takes(relay, process, waiting, options.n)))
    return runs


def step_row(batch: int, step: Step) -> Row:
    p50, p99 = percentile_ms(step.waits_s, 0.5), percentile_ms(step.waits_s, 0.99)
    return Row((str(batch), [step.rate_s], [step.rate_s * batch], [p50], [p99]))


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    """Yield the closed loop's rows, then those of every rate of the open loop."""
    wanted: list[Check] = []
    name = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[options.database]
    with scratch_folder(options) as folder, pillarbox(folder, Setup(options.database)) as both:
        relay, process = both
        yield CLOSED
        most: dict[int, float] = {}
        for batch in BATCHES:
            runs = closed(relay, process, batch, options)
            most[batch] = max(run.calls_s for run in runs)
            every = [[getattr(run, name) for run in runs] for name in Run.__slots__]
            yield Row((str(batch), *every))
            what = f"{name}, {batch} a call, as much as it takes"
            wanted.append(Check(what, [run.messages_s for run in runs], MESSAGES_S[batch]))
        yield OPEN
        for batch in BATCHES:
            steps = Steps(relay, process, batch, options)
            best = highest_rate(most[batch], steps.is_good)
            yield from (step_row(batch, s) for s in sorted(steps.tried, key=lambda s: s.rate_s))
            what = f"{name}, {batch} a call, highest rate with p99 at most {P99_MS:g} ms"
            wanted.append(Check(what, [best * batch], MESSAGES_S[batch]))
    yield from wanted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="runs of each, as much as it takes (3)")
    parser.add_argument("-n", type=int, default=3000, help="messages a run (3000)")
    parser.add_argument("--size", type=int, default=4096, help="bytes of a body (4096)")
    parser.add_argument("--seconds", type=float, default=3, help="how long a rate is offered (3)")
    add_database(parser)


BENCH = Bench("rest", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
