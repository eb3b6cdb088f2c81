"""Who may hold how much in memory, and who waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from relay.budget import Budget


class Users:
    """Requests for a budget, by name."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._releases: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.holding: list[str] = []

    async def ask(self, name: str, owner: str, size_bytes: int) -> None:
        self._releases[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._use(name, owner, size_bytes))
        await self.settle()

    async def release(self, name: str) -> None:
        self._releases[name].set()
        await self.tasks[name]
        await self.settle()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _use(self, name: str, owner: str, size_bytes: int) -> None:
        async with self._budget.hold(owner, size_bytes):
            self.holding.append(name)
            try:
                await self._releases[name].wait()
            finally:
                self.holding.remove(name)


@pytest.fixture
async def users() -> AsyncIterator[Users]:
    async with AsyncExitStack() as stack:
        users = Users(Budget(100))
        stack.push_async_callback(close, users)
        yield users


async def close(users: Users) -> None:
    for name in list(users.tasks):
        await users.cancel(name)


async def test_who_finds_no_room_waits_for_it(users: Users) -> None:
    for name, owner in (("a", "x"), ("b", "y"), ("c", "z")):
        await users.ask(name, owner, 40)
    assert users.holding == ["a", "b"]
    await users.release("a")
    assert users.holding == ["b", "c"]


async def test_no_owner_holds_more_than_half_while_others_could_want_it(users: Users) -> None:
    for name in ("a", "b", "c"):
        await users.ask(name, "slow", 30)
    await users.ask("d", "quick", 50)
    assert users.holding == ["a", "d"]
    await users.release("a")
    assert users.holding == ["d", "b"]


async def test_who_asks_for_more_than_there_is_has_its_turn_alone(users: Users) -> None:
    await users.ask("a", "x", 10)
    await users.ask("huge", "y", 500)
    await users.ask("b", "z", 10)
    assert users.holding == ["a"]
    await users.release("a")
    assert users.holding == ["huge"]
    await users.release("huge")
    assert users.holding == ["b"]


async def test_who_stops_waiting_lets_the_next_one_through(users: Users) -> None:
    await users.ask("a", "x", 60)
    await users.ask("huge", "y", 500)
    await users.ask("b", "z", 10)
    await users.cancel("huge")
    assert users.holding == ["a", "b"]
    await users.cancel("a")
    await users.ask("c", "x", 90)
    assert users.holding == ["b", "c"]
