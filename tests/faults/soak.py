"""A long time at a steady load, with all that goes on every day: mail by SMTP and REST, recipients
that are refused and that are to come later, reports. What a node takes must not grow.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.client import Call, FakeClient, Reply, ok
from tests.fakes.script import Moment
from tests.faults.actions import Action
from tests.faults.house import House
from tests.faults.invariants import Bounds, Violation
from tests.faults.ledgers import Books
from tests.faults.run import Run
from tests.faults.traffic import Pace

ROUND_S = 2.0
HOUR_ROUNDS = 1800
REFUSED, LATER = "0", "1"
NAMES = {
    "process_resident_memory_bytes": "memory",
    "process_open_fds": "descriptors",
    "pillarbox_event_loop_tasks": "tasks",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """How much more of it there may be at the end than after the start: so much, or this share."""

    least: float
    share: float

    def most(self, before: float) -> float:
        return before + max(self.least, before * self.share)


# What a heap and its caches do in a time so short is more than what an hour may add.
ALLOWED = {
    # A fresh node takes about 30 MB for its caches, which the first 25,000 mails fill.
    "memory": Allowed(32 << 20, 0.08),
    "descriptors": Allowed(10, 0.1),
    "tasks": Allowed(15, 0.1),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The medians of a quarter of the time: the second, after the start, and the last."""

    before: float
    after: float


def window(values: Sequence[float]) -> Window:
    quarter = max(1, len(values) // 4)
    return Window(median(values[quarter : 2 * quarter]), median(values[-quarter:]))


def growth(vitals: dict[str, list[float]]) -> list[Violation]:
    """Return what grew."""
    windows = {name: window(values) for name, values in vitals.items()}
    return [
        Violation("I7", name, f"grew from {each.before:.0f} to {each.after:.0f}")
        for name, each in windows.items()
        if each.after > ALLOWED[name].most(each.before)
    ]


class Moods:
    """An upstream's answers at RCPT: some never, some not at first, by the last digit of the mail's
    token.
    """

    def __init__(self) -> None:
        self._waiting: set[str] = set()

    def __call__(self, moment: Moment) -> str | None:
        address = moment.argument.partition("<")[2].partition(">")[0]
        digit = address.partition("@")[0][-1:]
        if digit == REFUSED:
            return "550 5.1.1 no such user"
        if digit == LATER and address not in self._waiting:
            self._waiting.add(address)
            return "450 4.2.1 come again"
        self._waiting.discard(address)
        return None


class Soak:
    """What is looked at while the time passes: `vitals` of the first node, by name."""

    def __init__(self) -> None:
        self.vitals: dict[str, list[float]] = {}

    async def begin(self, house: House, _chance: random.Random) -> None:
        self.vitals = {name: [] for name in ALLOWED}
        for sink in house.sinks.values():
            sink.upstream.on["RCPT"] = Moods()
        client = await house.keep(FakeClient())
        client.answer = forgetting(client)
        for tenant_id in house.tenants:
            answer = await house.nodes[0].client.put(
                f"/tenant/{tenant_id}", json={"client_base_url": client.url}
            )
            assert answer.status_code == 200, answer.text

    async def look(self, house: House, _chance: random.Random) -> None:
        await asyncio.sleep(ROUND_S)
        answer = await house.nodes[0].client.get("/metrics")
        for family in text_string_to_metric_families(answer.text):
            if family.name in NAMES:
                self.vitals[NAMES[family.name]].append(family.samples[0].value)

    async def check(self, _house: House, _books: Books) -> list[Violation]:
        return growth(self.vitals)

    def figures(self) -> str:
        """Say what was seen, for the page of figures."""
        shown = {name: window(values) for name, values in self.vitals.items()}
        return ", ".join(f"{name} {w.before:.0f} to {w.after:.0f}" for name, w in shown.items())


def forgetting(client: FakeClient) -> Callable[[Call], Reply]:
    """Answer a call, and forget those before."""

    def answer(_call: Call) -> Reply:
        client.calls.clear()
        return ok()

    return answer


SOAK = Soak()

RUNS = (
    Run(
        "an hour at steady load",
        Action("a look at what it takes", SOAK.look),
        rounds=HOUR_ROUNDS,
        short=20,
        pace=Pace(pause_s=0.1, sessions=2),
        bounds=Bounds(drained_s=120),
        checks=(SOAK.check,),
        figures=SOAK.figures,
        begin=Action("an ordinary day", SOAK.begin),
    ),
)
