"""Clocks that are wrong or are set: of a node beside others, and of the only one.

By libfaketime, which a process is started under; the monotonic clock stays, as it does in life.
"""

import random
from itertools import count
from pathlib import Path

import asyncpg

from tests.fakes.script import Moment
from tests.faults.actions import Action, restart, sequence, start, terminate, wait
from tests.faults.house import House
from tests.faults.invariants import Bounds, Violation
from tests.faults.ledgers import Books
from tests.faults.nodes import NODES, PACE, SHARED, once_for_sure
from tests.faults.run import Run
from tests.peers.conftest import faketime_library

HOUR_S = 3600
# Nothing stalls: what was put off once is sent after one wait, of a second or two.
PROMPT = Bounds(drained_s=12)
# In a log of a node whose clock alone is wrong none of this has a reason.
UNCALLED_FOR = ("lease_lost", "fenced", "expired", "unexpected", "clock_set")


def set_clock(node: int, by_s: int) -> Action:
    """Set the wall clock of a node's process to so far from the truth."""

    async def apply(house: House, _chance: random.Random) -> None:
        clock_of(house, node).write_text(f"{by_s:+d}\n")

    return Action(f"set the clock of node {node} to {by_s:+d} s", apply)


def settable(node: int) -> Action:
    """Start a node again with a clock that can be set."""

    async def under_it(house: House, _chance: random.Random) -> None:
        library = faketime_library()
        assert library, "libfaketime is not installed"
        house.nodes[node].environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock_of(house, node)),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Without it every wait for the interpreter's lock ends in the wrong moment.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    return sequence(terminate(node), Action("fake its time", under_it), start(node))


def clock_of(house: House, node: int) -> Path:
    return house.folder / f"node{node}" / "clock"


def put_off_some() -> Action:
    """Have upstreams put off each seventh recipient, so that there is always mail that waits."""

    async def apply(house: House, _chance: random.Random) -> None:
        asked = count(1)

        def answer(_moment: Moment) -> str | None:
            return "450 4.7.1 come again" if next(asked) % 7 == 0 else None

        for sink in house.sinks.values():
            sink.upstream.on["RCPT"] = answer

    return Action("put off some mail", apply)


async def nothing_is_noticed(house: House, _books: Books) -> list[Violation]:
    """I5 of a wrong clock: no node takes another for dead, or mail for old."""
    return [
        Violation("I5", f"node {number}", f"said {name} because of a clock")
        for number, node in enumerate(house.nodes)
        for name in UNCALLED_FOR
        if node.events(name)
    ]


async def nobody_is_taken_for_dead(house: House, _books: Books) -> list[Violation]:
    """Each node saw that the database's clock was set, and none buried another for it."""
    return [
        Violation("I5", f"node {number}", what)
        for number, node in enumerate(house.nodes)
        for what, is_so in (
            ("did not see the clock jump", not node.events("clock_set")),
            ("lost its lease", bool(node.events("lease_lost"))),
        )
        if is_so
    ]


async def it_was_noticed(house: House, _books: Books) -> list[Violation]:
    """The one node there is has seen each jump, and nothing expired of it."""
    [node] = house.nodes
    seen = [] if node.events("clock_set") else ["saw no jump of its clock"]
    expired = [f"let {len(node.events('expired'))} mails expire"] if node.events("expired") else []
    return [Violation("I5", "node 0", what) for what in [*seen, *expired]]


def database_clock(by_s: int) -> Action:
    """Set what the database says its time is to so far from the truth."""

    async def apply(house: House, _chance: random.Random) -> None:
        connection = await asyncpg.connect(house.url)
        name = house.url.rpartition("/")[2]
        # What stands first in the path of names hides the function of PostgreSQL's own.
        await connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
        await connection.execute(OTHER_CLOCK.format(by_s=by_s))
        await connection.close()

    return Action(f"set the database's clock to {by_s:+d} s", apply)


OTHER_CLOCK = """
CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
AS 'SELECT pg_catalog.clock_timestamp() + make_interval(secs => {by_s})'
"""
AHEAD, BEHIND = 1, 2
RUNS = (
    Run(
        "the clocks of 2 of 3 nodes wrong by an hour, and set",
        sequence(
            wait(2, 3),
            set_clock(AHEAD, -HOUR_S),
            set_clock(BEHIND, HOUR_S),
            wait(2, 3),
            set_clock(AHEAD, HOUR_S),
            set_clock(BEHIND, -HOUR_S),
        ),
        rounds=20,
        short=1,
        stores=("postgres",),
        nodes=NODES,
        # Whoever believed a clock that is ahead would let all mail expire.
        settings={**SHARED, "PILLARBOX_RETRY_LIFETIME_S": f"{HOUR_S // 2}"},
        pace=PACE,
        bounds=PROMPT,
        checks=(once_for_sure, nothing_is_noticed),
        begin=sequence(
            put_off_some(),
            set_clock(AHEAD, HOUR_S),
            settable(AHEAD),
            set_clock(BEHIND, -HOUR_S),
            settable(BEHIND),
        ),
        peers=("faketime",),
    ),
    Run(
        "the database's clock set by an hour",
        # Each node reads it every ten seconds, at a moment of its own, and then buries nobody
        # for a while; a clock that is set twice meanwhile is more than is promised.
        sequence(wait(1, 2), database_clock(HOUR_S), wait(30), database_clock(0), wait(30)),
        rounds=3,
        stores=("postgres",),
        nodes=NODES,
        settings={**SHARED, "PILLARBOX_RETRY_LIFETIME_S": f"{3 * HOUR_S}"},
        pace=PACE,
        checks=(once_for_sure, nobody_is_taken_for_dead),
        begin=sequence(database_clock(0), *(restart(node) for node in range(NODES))),
    ),
    Run(
        "the only node's clock set by an hour",
        sequence(
            wait(1.5, 2.5),
            set_clock(0, HOUR_S),
            wait(1.5, 2.5),
            set_clock(0, 0),
            wait(1.5, 2.5),
            set_clock(0, -HOUR_S),
            wait(1.5, 2.5),
            set_clock(0, 0),
        ),
        rounds=10,
        short=1,
        stores=("sqlite",),
        settings={"PILLARBOX_RETRY_LIFETIME_S": f"{3 * HOUR_S}"},
        bounds=PROMPT,
        checks=(once_for_sure, it_was_noticed),
        begin=sequence(put_off_some(), set_clock(0, 0), settable(0)),
        peers=("faketime",),
    ),
)
