"""The long run, by one command: `python -m tests.faults`. Prints a table; ends with 1 where
something does not hold.
"""

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import PostgresServer, postgres_programs
from tests.faults.run import STORES, Place, Result, Run, play
from tests.faults.table import RUNS

HEAD = (
    "fault",
    "store",
    "rounds",
    "accepted",
    "lost",
    "duplicated",
    "unknown",
    "no reply",
    "refused",
    "recovery s",
    "drained s",
    "verdict",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", help="runs whose name has this in it")
    parser.add_argument(
        "--rounds-factor", type=float, default=1.0, help="of the rounds in the table"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--store", choices=STORES)
    parser.add_argument("--list", action="store_true", help="name the runs, and play none")
    return parser.parse_args()


def chosen(only: Sequence[str] | None) -> list[Run]:
    return [run for run in RUNS if not only or any(part in run.name for part in only)]


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def line(result: Result) -> str:
    return row(
        result.name,
        result.store,
        result.rounds,
        result.accepted,
        result.lost,
        result.duplicated,
        result.unknown,
        result.in_doubt,
        result.refused,
        seconds(result.recovery_s),
        seconds(result.drained_s),
        "holds" if result.holds else f"**{len(result.violations)} violations**",
    )


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


async def play_all(runs: Sequence[Run], given: argparse.Namespace, postgres: str) -> bool:
    print(row(*HEAD), row(*["---"] * len(HEAD)), sep="\n", flush=True)
    holds = True
    for run in runs:
        for store in run.stores:
            if given.store in (None, store):
                rounds = max(1, round(run.rounds * given.rounds_factor))
                with tempfile.TemporaryDirectory(prefix="pillarbox-faults-") as folder:
                    place = Place(store, Path(folder), given.seed, postgres)
                    holds = await play_one(run, rounds, place) and holds
    return holds


async def play_one(run: Run, rounds: int, place: Place) -> bool:
    """Play a run and print its line, whatever comes of it."""
    try:
        result = await play(run, rounds, place)
    except Exception as error:  # noqa: BLE001 - the other runs are to be played all the same
        blanks = [""] * (len(HEAD) - 4)
        print(row(run.name, place.store, rounds, *blanks, "**did not end**"), flush=True)
        traceback.print_exception(error)
        return False
    print(line(result), flush=True)
    if run.figures:
        print(f"  {run.figures()}", file=sys.stderr)
    for violation in result.violations:
        print(f"  {violation}", file=sys.stderr)
    return result.holds


def main() -> int:
    given = arguments()
    runs = chosen(given.only)
    if given.list:
        print("\n".join(run.name for run in runs))
        return 0
    programs = postgres_programs()
    assert programs, "no PostgreSQL: install the [dev] extra or Debian's postgresql"
    server = PostgresServer(programs)
    server.start()
    try:
        return 0 if asyncio.run(play_all(runs, given, server.dsn("postgres"))) else 1
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
