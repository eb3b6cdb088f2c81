"""Failures that all nodes know of: the same waits at each, and none that is lost between them."""

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from relay import maillog
from relay.ingress.guesses import Guesses
from relay.store.database import Database, Query, Script
from relay.store.login_failures import FORGET_S, LoginFailures, Rules, forget
from tests.fakes.database import WatchedDatabase

RULES = Rules(first_wait_s=50, longest_wait_s=200, most_names=3, turn_s=60)
IP = "192.0.2.1"
ELSEWHERE = "192.0.2.2"


class Node:
    """One of the nodes that share a database."""

    def __init__(self, database: Database) -> None:
        self.database = WatchedDatabase(database)
        self.guesses = Guesses(RULES, database.now, LoginFailures(self.database))

    async def turn(self, user: str, ip: str = IP) -> float | None:
        return await self.guesses.turn(self.guesses.of(ip, "user", user))

    async def fails(self, *users: str, ip: str = IP) -> None:
        for user in users:
            await self.guesses.failed(self.guesses.of(ip, "user", user))

    async def passes(self, user: str) -> None:
        await self.guesses.passed(self.guesses.of(IP, "user", user))

    async def rejected(self, token: str) -> float:
        return await self.guesses.rejected(self.guesses.of(IP, "token", token))


@pytest.fixture
def nodes(db: Database) -> tuple[Node, Node]:
    return Node(db), Node(db)


async def names(db: Database) -> int:
    rows = await db.fetch("SELECT COUNT(*) AS n FROM login_failures WHERE name <> ''")
    return int(rows[0]["n"])


async def test_a_failure_at_one_node_is_a_wait_at_the_other(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    await one.fails("ann")
    assert await two.turn("ann") == pytest.approx(50, abs=5)
    await two.fails("ann")
    await one.fails("ann")
    assert await two.turn("ann") == pytest.approx(200, abs=5)
    assert await two.turn("bob") == 0
    assert await two.turn("ann", ELSEWHERE) == 0


async def test_guesses_through_two_nodes_stand_in_one_line(nodes: tuple[Node, Node]) -> None:
    await nodes[0].fails("ann")
    waits = await asyncio.gather(*(node.turn("ann") for node in nodes * 4))
    given = sorted(wait_s for wait_s in waits if wait_s is not None)
    assert given == pytest.approx([50, 100, 150, 200], abs=5)
    assert waits.count(None) == 4


async def test_failures_through_two_nodes_are_all_counted(
    db: Database, nodes: tuple[Node, Node]
) -> None:
    await asyncio.gather(*(node.fails("ann") for node in nodes * 10))
    rows = await db.fetch("SELECT failures FROM login_failures WHERE name <> ''")
    assert [row["failures"] for row in rows] == [20]


async def test_who_proved_itself_is_forgiven_at_both(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    await one.fails("ann")
    assert await two.turn("ann")
    await two.passes("ann")
    assert await one.turn("ann") == 0


async def test_wrong_tokens_at_one_node_slow_the_logins_of_their_address_at_the_other(
    nodes: tuple[Node, Node],
) -> None:
    one, two = nodes
    assert [await one.rejected(f"token {n}") for n in range(4)] == [0, 0, 0, 0]
    assert await one.rejected("token 5") == pytest.approx(60, abs=5)
    assert await two.turn("ann") == pytest.approx(60, abs=5)
    assert await two.rejected("token 6") == pytest.approx(120, abs=5)
    assert await two.turn("ann", ELSEWHERE) == 0


async def test_who_never_failed_costs_one_question_and_nothing_written(
    db: Database, nodes: tuple[Node, Node]
) -> None:
    one, _ = nodes
    assert await one.turn("ann") == 0
    await one.passes("ann")
    assert one.database.asked == 1
    assert await names(db) == 0


async def test_a_flood_that_waits_already_does_not_reach_the_database(
    nodes: tuple[Node, Node],
) -> None:
    one, _ = nodes
    await one.fails("ann")
    while await one.turn("ann") is not None:
        pass
    asked = one.database.asked
    assert [await one.turn("ann") for _ in range(100)] == [None] * 100
    await one.rejected("token")
    for _ in range(100):
        assert await one.rejected("token")
    assert one.database.asked == asked + 1


async def test_a_guesser_cannot_fill_the_table(db: Database, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    await one.fails(*(f"guess {n}" for n in range(30)))
    assert await names(db) == RULES.most_names


async def test_what_keeps_nobody_waiting_is_dropped(db: Database, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    await one.fails("ann")
    await db.write(lambda: forget(db.now() - FORGET_S))
    assert await names(db) == 1
    await db.write(lambda: forget(db.now() + 1))
    assert await db.fetch("SELECT * FROM login_failures") == []


async def test_old_failures_count_no_more_swept_or_not(
    db: Database, nodes: tuple[Node, Node]
) -> None:
    one, two = nodes
    await one.fails("a", "b", "c", "d")

    def age() -> Script[None]:
        yield Query("UPDATE login_failures SET last_at = last_at - $1", (FORGET_S + 1,))

    await db.write(age)
    assert [await two.turn(user) for user in ("a", "new", "newer")] == [0, 0, 0]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    maillog.configure("text", "info", stream=stream)
    yield stream
    maillog.configure("text", "error", stream=io.StringIO())
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_database_that_is_down_leaves_each_node_to_what_it_knows(
    nodes: tuple[Node, Node], log: io.StringIO
) -> None:
    one, two = nodes
    await one.fails("ann")
    one.database.is_down = two.database.is_down = True
    assert await one.turn("ann") == pytest.approx(50, abs=5)
    await two.fails("ann", "bob")
    assert await two.turn("ann") == pytest.approx(50, abs=5)
    await two.passes("bob")
    assert log.getvalue().count("failures_not_shared") == 2
    one.database.is_down = two.database.is_down = False
    assert await two.turn("ann") == pytest.approx(50, abs=5)
    assert await one.turn("ann") == pytest.approx(100, abs=5)
