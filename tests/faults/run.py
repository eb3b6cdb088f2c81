"""One run: traffic on, the fault in rounds, traffic off, everything drained, the books compared."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.faults.actions import Action
from tests.faults.house import House
from tests.faults.invariants import Bounds, Times, Violation, violations
from tests.faults.ledgers import Books, Overheard, Reply
from tests.faults.tmpfs import SmallDisk
from tests.faults.traffic import Pace, Traffic
from tests.faults.view import is_drained, look
from tests.process import RUN
from tests.waiting import until

# What else must hold of a run, or must have happened for it to have tried anything.
Check = Callable[[House, Books], Awaitable[list[Violation]]]
STORES = ("sqlite", "postgres")
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """A line of the table. `rounds` are those of the long run, `short` those of CI (0: not there).

    `owns_postgres` is for what is done to the PostgreSQL itself; `serve` is what the nodes run.
    `figures` says what was measured besides.

    `begin` is done before the traffic, `end` after it and before the drain: the fault is over then
    at the latest. `peers` are the programs it needs (see `tests/peers/conftest.py`).
    """

    name: str
    action: Action
    rounds: int
    short: int = 0
    stores: tuple[str, ...] = STORES
    nodes: int = 1
    owns_postgres: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    bounds: Bounds = field(default_factory=Bounds)
    checks: tuple[Check, ...] = ()
    serve: Sequence[str] = RUN
    disk: SmallDisk | None = None
    figures: Callable[[], str] | None = None
    begin: Action | None = None
    end: Action | None = None
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`duplicated` counts copies beyond the first, `unknown` the attempts whose end the relay did
    not see, `in_doubt` the mails whose client had no reply.
    """

    name: str
    store: str
    rounds: int
    accepted: int
    lost: int
    duplicated: int
    unknown: int
    in_doubt: int
    refused: int
    recovery_s: float | None
    drained_s: float | None
    violations: tuple[Violation, ...]

    @property
    def holds(self) -> bool:
        return not self.violations


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a run is played. `postgres` is a server's DSN, for runs that need none of
    their own.
    """

    store: str
    folder: Path
    seed: int = 7
    postgres: str | None = None


async def play(run: Run, rounds: int, place: Place) -> Result:
    """Play a run on one store. Raises what the harness itself cannot do."""
    chance = random.Random(f"{run.name} {place.store} {place.seed}")
    postgres = None if run.owns_postgres else place.postgres
    house = House(
        place.folder,
        place.store,
        nodes=run.nodes,
        postgres=postgres,
        settings=run.settings,
        run=run.serve,
        disk=run.disk,
    )
    async with house:
        if run.begin:
            await run.begin.apply(house, chance)
        async with Traffic(house, run.pace) as traffic:
            for _ in range(rounds):
                await run.action.apply(house, chance)
            recovery_s = await _recovered(house, run.bounds)
        if run.end:
            await run.end.apply(house, chance)
        drained_s = await _drained(house, run.bounds)
        books = await read_books(house, traffic)
        found = violations(books, run.bounds, Times(recovery_s, drained_s))
        found += house.found
        for check in run.checks:
            found += await check(house, books)
        return _result(run, rounds, place.store, books, Times(recovery_s, drained_s), found)


async def _recovered(house: House, bounds: Bounds) -> float | None:
    """Return how long it takes until each node that lives has taken a mail again."""
    began = monotonic()

    async def takes_mail() -> bool:
        return all(house.ledger.taken_since(began, number) for number in house.living)

    return await _time_until(takes_mail, bounds.recovery_s * PATIENCE)


async def _drained(house: House, bounds: Bounds) -> float | None:
    async def nothing_waits() -> bool:
        return await is_drained(house)

    return await _time_until(nothing_waits, bounds.drained_s * PATIENCE)


async def _time_until(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> float | None:
    began = monotonic()
    try:
        await until(condition, timeout_s=timeout_s, every_s=0.05)
    except AssertionError:
        return None
    return monotonic() - began


async def read_books(house: House, traffic: Traffic) -> Books:
    """Ask all sides what they know."""
    view = await look(house)
    logs = [Overheard(f"log of node {n}", None, node.log()) for n, node in enumerate(house.nodes)]
    return Books(
        given=list(house.ledger.mails.values()),
        refusals=house.ledger.refusals,
        got=house.got,
        shown=view.entries,
        health=traffic.health,
        overheard=[*traffic.overheard, *view.overheard, *logs],
        canaries=tuple(house.canaries.items()),
        planted=house.planted,
    )


def _result(
    run: Run, rounds: int, store: str, books: Books, times: Times, found: list[Violation]
) -> Result:
    return Result(
        name=run.name,
        store=store,
        rounds=rounds,
        accepted=sum(given.reply is Reply.ACCEPTED for given in books.given),
        lost=sum(violation.invariant == "I1" for violation in found),
        duplicated=sum(count - 1 for count in books.copies().values()),
        unknown=sum(entry.unknown or 0 for entry in books.shown),
        in_doubt=sum(given.reply is Reply.NOTHING for given in books.given),
        refused=len(books.refusals),
        recovery_s=times.recovery_s,
        drained_s=times.drained_s,
        violations=tuple(found),
    )
