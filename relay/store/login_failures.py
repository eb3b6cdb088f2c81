"""Failed logins and wrong tokens: who waits before the next try, and how long.

A name that failed at a place waits there, longer each time. Nobody else does: neither the same name
elsewhere, so that a victim is not locked out (OWASP), nor another name at the same place, so that a
gateway never pays for one of its clients. A place from which many names fail is guessing, or a
gateway has a guesser behind it: then the names of that place take turns, except those that were let
in there before. Names are counted, not failures: a device with an old password fails all day by the
same name.

The decisions are pure. What they rest on is read and written under the lock of the place's row, so
nodes decide one after the other. Of a place that takes turns no more names are written down, so a
guesser cannot fill the table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from relay.store.database import Database, Each, Query, Row, Script

FORGET_S = 900.0
MOST_DOUBLINGS = 30
# The line of a place stands under a name that nobody has.
LINE = ""

LOOK = """
SELECT name, failures, free_at, last_at FROM login_failures WHERE place = $1 AND last_at >= $2
"""
LOCK = """
INSERT INTO login_failures (place, name, failures, free_at, last_at) VALUES ($1, '', 0, 0, $2)
ON CONFLICT (place, name) DO UPDATE SET last_at = $2
"""
PUT = """
INSERT INTO login_failures (place, name, failures, free_at, last_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (place, name) DO UPDATE SET failures = $3, free_at = $4, last_at = $5
"""
DROP = "DELETE FROM login_failures WHERE place = $1 AND name = $2"
FORGET = "DELETE FROM login_failures WHERE last_at < $1"


@dataclass(frozen=True, slots=True)
class Rules:
    """The wait of a name doubles from the first to the longest; a place from which `most_names`
    failed is given a turn every `turn_s`.
    """

    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    most_names: int = 20
    turn_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a name failed at a place; it is free again at `free_at`."""

    count: int
    free_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A try by a name at a place. `is_trusted`: the name was let in there before; `free_tries` may
    fail before there is a wait.
    """

    place: str
    name: str
    is_trusted: bool = False
    free_tries: int = 0


Records = Mapping[str, Failures]


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait_s` is None where too many wait already; `changed` is what to write down of the place,
    by name.
    """

    wait_s: float | None
    changed: Records = field(default_factory=dict)


Decide = Callable[[Records, float], Decision]


def recent(records: Records, now: float) -> dict[str, Failures]:
    return {name: each for name, each in records.items() if now - each.last_at <= FORGET_S}


def wait_s(guess: Guess, rules: Rules, records: Records, now: float) -> float:
    """Return how long the next try has to wait (seconds)."""
    names = (guess.name, LINE) if takes_turns(guess, rules, records) else (guess.name,)
    return max([0.0, *(records[name].free_at - now for name in names if name in records)])


def takes_turns(guess: Guess, rules: Rules, records: Records) -> bool:
    names = len(records) - (LINE in records)
    return names >= rules.most_names and not guess.is_trusted


def take_turn(guess: Guess, rules: Rules, records: Records, now: float) -> Decision:
    """Take the next turn, unless the line is too long. Tries at the same time stand in a line."""
    waits_s = wait_s(guess, rules, records, now)
    if waits_s > rules.longest_wait_s:
        return Decision(None)
    turn_at = now + waits_s
    changed = {}
    if guess.name in records:
        own = records[guess.name]
        free_at = turn_at + delay_s(rules, own.count - guess.free_tries)
        changed[guess.name] = replace(own, free_at=free_at)
    if takes_turns(guess, rules, records):
        changed[LINE] = Failures(0, turn_at + rules.turn_s, now)
    return Decision(waits_s, changed)


def count_failure(guess: Guess, rules: Rules, records: Records, now: float) -> Decision:
    changed = {}
    is_in_line = takes_turns(guess, rules, records)
    if guess.name in records or not is_in_line:
        known = records.get(guess.name, Failures(0, now, now))
        count = known.count + 1
        free_at = max(known.free_at, now + delay_s(rules, count - guess.free_tries))
        changed[guess.name] = Failures(count, free_at, now)
    if is_in_line:
        line = records.get(LINE, Failures(0, now, now))
        changed[LINE] = Failures(0, max(line.free_at, now + rules.turn_s), now)
    return Decision(0.0, changed)


def count_unless_waiting(guess: Guess, rules: Rules, records: Records, now: float) -> Decision:
    """Count a failure of somebody who was not to try now only where no wait was due."""
    waits_s = wait_s(guess, rules, records, now)
    return Decision(waits_s) if waits_s else count_failure(guess, rules, records, now)


def delay_s(rules: Rules, count: int) -> float:
    if count < 1:
        return 0.0
    doubled: float = rules.first_wait_s * 2.0 ** min(count - 1, MOST_DOUBLINGS)
    return min(doubled, rules.longest_wait_s)


class LoginFailures:
    """The failures that all nodes know of. Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_place(self, place: str) -> dict[str, Failures]:
        since = self._database.now() - FORGET_S
        return records_of(await self._database.fetch(LOOK, place, since))

    async def decide(self, place: str, decide: Decide) -> tuple[Decision, dict[str, Failures]]:
        """Decide and write it down; return what was decided, and what is known of the place now."""
        now = self._database.now()
        return await self._database.write(partial(decided, place, decide, now))

    async def drop(self, place: str, name: str) -> None:
        await self._database.write(partial(drop, place, name))


def decided(place: str, decide: Decide, now: float) -> Script[tuple[Decision, dict[str, Failures]]]:
    yield Query(LOCK, (place, now))
    records = records_of((yield Query(LOOK, (place, now - FORGET_S))))
    decision = decide(records, now)
    changed = decision.changed.items()
    yield Each(PUT, [(place, name, f.count, f.free_at, f.last_at) for name, f in changed])
    return decision, {**records, **decision.changed}


def drop(place: str, name: str) -> Script[None]:
    yield Query(DROP, (place, name))


def forget(before: float) -> Script[None]:
    """Drop what keeps nobody waiting any more."""
    yield Query(FORGET, (before,))


def records_of(rows: Sequence[Row]) -> dict[str, Failures]:
    return {row["name"]: Failures(row["failures"], row["free_at"], row["last_at"]) for row in rows}
