"""Several nodes of one instance on PostgreSQL: one freezes, dies, joins or is drained under load.

A node that is stopped in order leaves nothing in doubt, so then nothing may come twice at all, and
clients that know every node are never long without one.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

import aiosmtplib

from tests.faults.actions import (
    Action,
    any_of,
    freeze,
    join,
    kill,
    restart,
    sequence,
    start,
    terminate,
    thaw,
    wait,
)
from tests.faults.house import House, Tenancy
from tests.faults.invariants import Bounds, Violation
from tests.faults.ledgers import Books, Reply
from tests.faults.run import Run
from tests.faults.traffic import Client, Pace, Traffic

LEASE_S = 2.0
NODES = 3
# What a dead node had is taken over within seconds.
SHARED = {"PILLARBOX_DISPATCH_LEASE_S": f"{LEASE_S:g}", "PILLARBOX_DISPATCH_POLL_S": "0.2"}
PACE = Pace(pause_s=0.05)
# A question that was asked of a node that is frozen is answered when it goes on.
FROZEN = Bounds(probe_p99_s=3 * LEASE_S)
LONGEST_GAP_S = 5.0


def any_node(do: Callable[[int], Action], name: str) -> Action:
    """Do it to one of the nodes, by chance."""
    return sequence(any_of(*(do(number) for number in range(NODES))), name=name)


def drain(node: int) -> Action:
    """Have a node take no more mail, as before an upgrade."""

    async def apply(house: House, _chance: random.Random) -> None:
        await house.nodes[node].post("/commands/drain", {})

    return Action(f"have node {node} take no more", apply)


def hang(node: int) -> Action:
    """Freeze a node for three leases."""
    return sequence(freeze(node), wait(3 * LEASE_S), thaw(node), name=f"hang node {node}")


def hang_beside_a_death(node: int) -> Action:
    """Freeze a node, kill another, and let both come back when their leases are over."""
    other = (node + 1) % NODES
    return sequence(
        freeze(node),
        wait(0.1, 0.5),
        kill(other),
        wait(3 * LEASE_S),
        thaw(node),
        start(other),
        name=f"hang node {node} and kill node {other}",
    )


def die(node: int) -> Action:
    """Kill a node, which comes back once others have what it had."""
    return sequence(kill(node), wait(0, 2 * LEASE_S), start(node), name=f"kill node {node}")


def leave_in_order(node: int) -> Action:
    return sequence(drain(node), wait(0.2, 1), restart(node), name=f"drain node {node}")


def come_and_go() -> Action:
    """One more node joins, and leaves again in order."""
    return sequence(join(), wait(1, 2), terminate(-1), name="join a node, and drain it")


@dataclass
class Roamer:
    """A client that knows every node, and tries the next when one does not serve it."""

    traffic: Traffic
    tenancy: Tenancy
    served_at: list[float] = field(default_factory=lambda: [monotonic()])

    async def roam(self) -> None:
        number = 0
        while not self.traffic.is_closed:
            client = Client(self.traffic, number % len(self.traffic.house.nodes), self.tenancy)
            try:
                await client.by_fresh_smtp()
            except (aiosmtplib.SMTPException, OSError):
                number += 1
            else:
                self.served_at.append(monotonic())
            await asyncio.sleep(self.traffic.pace.pause_s)

    @property
    def longest_gap_s(self) -> float:
        return max(later - earlier for earlier, later in pairwise([*self.served_at, monotonic()]))


def served_meanwhile(action: Action) -> Action:
    """Do it to the nodes while clients that know them all are never long without one."""

    async def apply(house: House, chance: random.Random) -> None:
        traffic = Traffic(house, PACE)
        roamers = [Roamer(traffic, tenancy) for tenancy in house.tenants.values()]
        async with asyncio.TaskGroup() as group:
            for roamer in roamers:
                group.create_task(roamer.roam())
            try:
                await action.apply(house, chance)
            finally:
                traffic.is_closed = True
        gap_s = max(roamer.longest_gap_s for roamer in roamers)
        assert gap_s < LONGEST_GAP_S, f"a client was without any node for {gap_s:.1f} s"

    return Action(action.name, apply)


async def once_for_sure(_house: House, books: Books) -> list[Violation]:
    """I3 where everything ended in order: no mail is in doubt, none came twice, and who had no
    reply can send again.
    """
    twice = [
        Violation("I3", token, f"came {count} times, though every node was stopped in order")
        for (token, _), count in books.copies().items()
        if count > 1
    ]
    doubts = [
        Violation("I3", entry.token, "is in doubt, though every node was stopped in order")
        for entry in books.shown
        if entry.unknown
    ]
    there = {got.token for got in books.got}
    unsaid = [
        Violation("I3", given.token, "was taken without a word, though its node stopped in order")
        for given in books.given
        if given.reply is Reply.NOTHING and given.token in there
    ]
    return [*twice, *doubts, *unsaid]


def shared(name: str, action: Action, rounds: int, short: int = 0, *, is_orderly: bool) -> Run:
    return Run(
        name,
        action,
        rounds,
        short,
        stores=("postgres",),
        nodes=NODES,
        settings=SHARED,
        pace=PACE,
        bounds=Bounds() if is_orderly else FROZEN,
        checks=(once_for_sure,) if is_orderly else (),
    )


ALL_RESTARTED = sequence(
    *(restart(number) for number in range(NODES)), name="restart each node in turn"
)
MIXTURE = any_of(
    any_node(hang, "hang a node"),
    any_node(hang_beside_a_death, "hang a node and kill another"),
    any_node(die, "kill a node"),
    any_node(leave_in_order, "drain a node"),
    come_and_go(),
)
BREATH = wait(0.5, 1.5)

RUNS = (
    shared(
        "one of 3 nodes frozen for 3 leases",
        sequence(BREATH, any_node(hang, "")),
        rounds=20,
        is_orderly=False,
    ),
    shared(
        "one of 3 nodes killed",
        sequence(BREATH, any_node(die, "")),
        rounds=30,
        is_orderly=False,
    ),
    shared(
        "one of 3 nodes frozen for 3 leases, one killed",
        sequence(BREATH, any_node(hang_beside_a_death, "")),
        rounds=20,
        short=1,
        is_orderly=False,
    ),
    shared(
        "a node joined, one drained",
        sequence(BREATH, come_and_go(), any_node(leave_in_order, "")),
        rounds=10,
        is_orderly=True,
    ),
    shared(
        "3 nodes restarted in turn, a fourth beside them",
        served_meanwhile(sequence(BREATH, join(), ALL_RESTARTED, terminate(-1), BREATH)),
        rounds=10,
        short=1,
        is_orderly=True,
    ),
    shared(
        "nodes frozen, killed, joined, drained at random",
        sequence(BREATH, MIXTURE),
        rounds=30,
        is_orderly=False,
    ),
)
