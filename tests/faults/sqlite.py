"""SQLite in trouble: somebody else holds its lock."""

import asyncio
import random
import sqlite3
import time

from tests.faults.actions import Action, sequence, wait
from tests.faults.house import House
from tests.faults.probing import nothing_in_doubt, noticed, refuses_for_now
from tests.faults.run import Run


def hold_lock(hold_s: float) -> Action:
    """Hold the one lock for writing, as somebody who looks into the file by hand may."""

    async def apply(house: House, _chance: random.Random) -> None:
        await asyncio.to_thread(_hold, house.url.removeprefix("sqlite:"), hold_s)

    return Action(f"locked for {hold_s:g} s", apply)


def _hold(path: str, hold_s: float) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(hold_s)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


RUNS = tuple(
    Run(
        f"SQLite is locked for {hold_s} s",
        sequence(wait(0.5), noticed(hold_lock(hold_s)), wait(0.5)),
        rounds=rounds,
        short=short,
        stores=("sqlite",),
        checks=(refuses_for_now({451}, {503}), nothing_in_doubt),
    )
    for hold_s, rounds, short in ((5, 5, 1), (30, 2, 0))
)
