"""What a node says of itself while something is wrong: `/health` answers, `/ready` says no."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from tests.faults.actions import Action
from tests.faults.house import House
from tests.faults.invariants import Violation
from tests.faults.ledgers import Books, Face
from tests.faults.run import Check

EVERY_S = 0.1
ANSWER_S = 5.0


@dataclass
class Said:
    """What was answered while it was watched; `health` counts the looks that failed."""

    ready: set[int] = field(default_factory=set)
    unhealthy: int = 0


def noticed(action: Action, *, unready: bool = True) -> Action:
    """Do something; meanwhile every node that lives must answer `/health` and, where `unready`,
    say 503 to `/ready`.
    """

    async def apply(house: House, chance: random.Random) -> None:
        said = {number: Said() for number in house.living}
        watchers = [asyncio.create_task(_watch(house, n, one)) for n, one in said.items()]
        try:
            await action.apply(house, chance)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        for number, one in said.items():
            if one.unhealthy:
                what = f"/health failed {one.unhealthy} times while: {action.name}"
                house.found.append(Violation("I7", f"node {number}", what))
            if unready and 503 not in one.ready:
                what = f"/ready said {one.ready or 'nothing'} while: {action.name}"
                house.found.append(Violation("I6", f"node {number}", what))

    return Action(action.name, apply)


async def _watch(house: House, number: int, said: Said) -> None:
    base = f"http://127.0.0.1:{house.nodes[number].http_port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=ANSWER_S) as client:
        await asyncio.gather(_ask_health(client, said), _ask_ready(client, said))


async def _ask_health(client: httpx.AsyncClient, said: Said) -> None:
    while True:
        try:
            said.unhealthy += (await client.get("/health")).status_code != 200
        except httpx.TransportError:
            said.unhealthy += 1
        await asyncio.sleep(EVERY_S)


async def _ask_ready(client: httpx.AsyncClient, said: Said) -> None:
    while True:
        with suppress(httpx.TransportError):
            said.ready.add((await client.get("/ready", timeout=2 * ANSWER_S)).status_code)
        await asyncio.sleep(EVERY_S)


def refuses_for_now(smtp: set[int], rest: set[int]) -> Check:
    """One of these codes at least was heard by SMTP, and one by REST."""

    async def check(_house: House, books: Books) -> list[Violation]:
        heard = {face: {r.code for r in books.refusals if r.face is face} for face in Face}
        return [
            Violation("I6", face, f"answered {sorted(heard[face])}, none of {sorted(wanted)}")
            for face, wanted in ((Face.SMTP, smtp), (Face.REST, rest))
            if not heard[face] & wanted
        ]

    return check


async def nothing_in_doubt(_house: House, books: Books) -> list[Violation]:
    """No process died and no answer was lost: then no mail may come twice, and none is unknown."""
    doubts = [entry for entry in books.shown if entry.unknown]
    twice = [token for (token, _), count in books.copies().items() if count > 1]
    return [Violation("I3", entry.token, "in doubt without need") for entry in doubts] + [
        Violation("I3", token, "came twice without need") for token in twice
    ]
