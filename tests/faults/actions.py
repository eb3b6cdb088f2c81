"""Faults as small named actions that compose: what is done to a house in one round.

    sequence(wait(0.05, 0.8), kill(0), start(0))

A fault of another kind is a function that returns an `Action`, in a file of its own.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.dying import command, farewell
from tests.faults.house import House
from tests.process import RUN, ServeProcess

Apply = Callable[[House, random.Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    apply: Apply


def sequence(*actions: Action, name: str = "") -> Action:
    """One after another."""

    async def apply(house: House, chance: random.Random) -> None:
        for action in actions:
            await action.apply(house, chance)

    return Action(name or ", ".join(action.name for action in actions), apply)


def together(*actions: Action, name: str = "") -> Action:
    """At the same time."""

    async def apply(house: House, chance: random.Random) -> None:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(_run(action, house, chance))

    return Action(name or " with ".join(action.name for action in actions), apply)


async def _run(action: Action, house: House, chance: random.Random) -> None:
    await action.apply(house, chance)


def repeat(times: int, action: Action) -> Action:
    return sequence(*[action] * times, name=f"{times} x {action.name}")


def any_of(*actions: Action) -> Action:
    """One of them, by chance."""

    async def apply(house: House, chance: random.Random) -> None:
        await chance.choice(actions).apply(house, chance)

    return Action(" or ".join(action.name for action in actions), apply)


def wait(low_s: float, high_s: float | None = None) -> Action:
    """Let a time pass that chance picks."""
    high_s = low_s if high_s is None else high_s

    async def apply(_house: House, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(low_s, high_s))

    return Action(f"wait {low_s:g}-{high_s:g} s", apply)


def kill(node: int = 0) -> Action:
    """Kill -9."""

    async def apply(house: House, _chance: random.Random) -> None:
        await house.nodes[node].kill()

    return Action(f"kill node {node}", apply)


def start(node: int = 0) -> Action:
    """Start a node that ended, until it is ready."""

    async def apply(house: House, _chance: random.Random) -> None:
        await house.nodes[node].start()

    return Action(f"start node {node}", apply)


def terminate(node: int = 0, budget_s: float = 40) -> Action:
    """Drain: SIGTERM, and an exit with 0 inside the budget."""

    async def apply(house: House, _chance: random.Random) -> None:
        code = await house.nodes[node].terminate(budget_s)
        assert code == 0, f"node {node} ended with {code}:\n{house.nodes[node].log()[-3000:]}"

    return Action(f"drain node {node}", apply)


def restart(node: int = 0) -> Action:
    return sequence(terminate(node), start(node), name=f"restart node {node}")


def freeze(node: int = 0) -> Action:
    """Stop a node's whole process as a machine that hangs does."""
    return _signalled(node, signal.SIGSTOP, "freeze")


def thaw(node: int = 0) -> Action:
    return _signalled(node, signal.SIGCONT, "thaw")


def _signalled(node: int, number: signal.Signals, verb: str) -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        process = house.nodes[node].process
        assert process
        process.send_signal(number)

    return Action(f"{verb} node {node}", apply)


def join() -> Action:
    """Start one more node of the instance."""

    async def apply(house: House, _chance: random.Random) -> None:
        await house.join()

    return Action("join a node", apply)


def die_at(point: str, node: int = 0, most_calls: int = 20) -> Action:
    """Kill a node, start it so that it dies at the point, and start it again as it was."""

    async def apply(house: House, chance: random.Random) -> None:
        serve = house.nodes[node]
        await doomed(serve, point, chance.randint(1, most_calls))
        await died(serve, point)
        await serve.start()

    return Action(f"die: {point}", apply)


async def doomed(serve: ServeProcess, point: str, nth: int = 1) -> None:
    """Kill it, and start it so that it dies at the point."""
    await serve.kill()
    serve.run = command(point, nth)
    await serve.start()


async def died(serve: ServeProcess, point: str) -> None:
    """Wait until it died at the point, and nowhere else."""
    code = await serve.ended()
    assert code == -signal.SIGKILL, f"ended with {code}"
    assert farewell(point) in serve.log(), f"it never came to {point!r}"
    serve.run = RUN
