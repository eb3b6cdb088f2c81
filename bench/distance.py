"""An upstream that is far away: how much of what its distance permits is sent.

    python -m bench.distance [--round-trip 50] [--connections 20 100] [--seconds 6]

A proxy between Pillarbox and smtp-sink brings every byte half a round trip late. Two round trips
are needed for a mail where the upstream takes commands in a row (RFC 2920), one for the envelope
and one for the content; four where it does not. So no more than this can be sent:

    connections / (round trips of a mail x round trip)

The round trip is the one that NOOP was found to take. All mails are queued first; counted are those
that arrive between the first fifth and the last tenth, when every connection is open.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.call import bodies, messages, post_all
from bench.command import Bench, scratch_folder
from bench.pillarbox import TENANT, Pillarbox, Upstream
from bench.relays import running, store
from bench.results import Check, Finding, Goal, Head, Row
from bench.sink import ROOT, Sink, plain_sink
from tests.peers.private_postfix import free_ports, wait_for

MAIL_BYTES = 4096
BATCH = 100
FIRST, LAST = 0.2, 0.9
# smtp-sink's option, and the round trips that a mail then takes.
WAYS = {"in a row": ((), 2), "one by one": (("-p",), 4)}

NOOPS = 9
ANSWER_S = 10

HEAD = Head(("connections", "commands", "round trip ms", "permitted/s", "delivered/s", "share"))
SHARE = Goal(0.8, "of what it permits")


def permitted_s(connections: int, round_trips: int, round_trip_s: float) -> float:
    """Return how many mails a second the distance permits."""
    return connections / (round_trips * round_trip_s)


def round_trip_s(port: int) -> float:
    """Ask how far a server is."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
        connection.recv(1000)
        waits_s = []
        for _ in range(NOOPS):
            began_at = time.perf_counter()
            connection.sendall(b"NOOP\r\n")
            connection.recv(1000)
            waits_s.append(time.perf_counter() - began_at)
    return statistics.median(waits_s)


@contextmanager
def far_sink(round_trip_ms: float, *options: str) -> Iterator[tuple[Sink, int]]:
    """Run a sink; yield it with the port that is as far from it."""
    near, far = free_ports(2)
    sink = plain_sink(near, *options)
    words = ["-m", "bench.delay", str(far), str(near), str(round_trip_ms)]
    proxy = subprocess.Popen([sys.executable, *words], cwd=ROOT)
    try:
        wait_for(far)
        yield sink, far
    finally:
        proxy.terminate()
        proxy.wait(10)
        sink.stop()


async def delivered_s(process: Pillarbox, sink: Sink, run: str, mails: int) -> float:
    before = sink.mails
    await post_all(process, bodies(messages(run, mails, MAIL_BYTES), BATCH))
    began_at = await sink.wait_for(before + int(mails * FIRST))
    began_with = sink.mails
    ended_at = await sink.wait_for(before + int(mails * LAST))
    ended_with = sink.mails
    await sink.wait_for(before + mails)
    return (ended_with - began_with) / (ended_at - began_at)


def measure_one(
    folder: Path, connections: int, way: str, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Return how far it was (s), what that permits, and what was delivered."""
    sink_options, round_trips = WAYS[way]
    folder.mkdir(mode=0o755)
    with (
        far_sink(options.round_trip, *sink_options) as (sink, port),
        store(folder, "sqlite") as (settings, _),
        running(folder, settings) as process,
    ):
        process.add_tenant(TENANT, Upstream(port, connections=connections))
        away_s = round_trip_s(port)
        most_s = permitted_s(connections, round_trips, away_s)
        mails = int(most_s * options.seconds)
        return away_s, most_s, uvloop.run(delivered_s(process, sink, "far", mails))


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    wanted: list[Check] = []
    with scratch_folder(options) as base:
        for connections in options.connections:
            for number, way in enumerate(WAYS):
                folder = base / f"{connections}-{number}"
                away_s, most_s, found_s = measure_one(folder, connections, way, options)
                share = found_s / most_s
                figures = ([away_s * 1000], [most_s], [found_s], [share])
                yield Row((str(connections), way, *figures))
                wanted.append(Check(f"{connections} connections, {way}", [share], SHARE))
    yield from wanted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--round-trip", type=float, default=50, help="ms (50)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[20, 100], help="of the account (20, 100)"
    )
    parser.add_argument("--seconds", type=float, default=8, help="what a run should take (8)")


BENCH = Bench("distance", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
