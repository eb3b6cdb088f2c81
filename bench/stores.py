"""The same mail by SMTP on each store: SQLite, PostgreSQL with one node, PostgreSQL with two.

    python -m bench.stores [--turns 5] [-n 2000]

All three run side by side and take turns; PostgreSQL runs on this machine too, with fsync on, and
its CPU time counts as the relay's.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack

from bench.command import Bench, scratch_folder
from bench.relays import Setup, pillarbox
from bench.results import Check, Finding, Goal
from bench.smtp import HEAD, Run, beside, in_turns, kinds, ratio_row, run_row

SETUPS = {
    "SQLite": Setup(),
    "PostgreSQL": Setup("postgres"),
    "PostgreSQL, 2 nodes": Setup("postgres", nodes=2),
}
ONE_NODE = Goal(0.6, "x SQLite's")
TWO_NODES = Goal(1.5, "x one node's")


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    wanted: list[Check] = []
    with ExitStack() as stack:
        base = stack.enter_context(scratch_folder(options))
        relays = []
        for number, (name, setup) in enumerate(SETUPS.items()):
            folder = base / str(number)
            folder.mkdir(mode=0o755)
            relays.append(stack.enter_context(pillarbox(folder, setup, name))[0])
        for mail in kinds(options.n):
            runs = in_turns(relays, mail, options.turns)
            yield from (
                run_row(mail, relay, each) for relay, each in zip(relays, runs, strict=True)
            )
            sqlite, one, two = runs
            yield ratio_row(mail, "PostgreSQL : SQLite", one, sqlite)
            yield ratio_row(mail, "two nodes : one", two, one)
            wanted += checks(mail.name, sqlite, one, two)
    yield from wanted


def checks(mail: str, sqlite: list[Run], one: list[Run], two: list[Run]) -> Iterator[Check]:
    yield Check(f"{mail}: PostgreSQL, delivered/s", beside(one, sqlite, "delivered_s"), ONE_NODE)
    what = f"{mail}: 2 nodes on {os.cpu_count()} cores, delivered/s"
    yield Check(what, beside(two, one, "delivered_s"), TWO_NODES)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=5, help="runs of each (5)")
    parser.add_argument("-n", type=int, default=2000, help="mails a run (2000; a third at 100 KB)")


BENCH = Bench("stores", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
