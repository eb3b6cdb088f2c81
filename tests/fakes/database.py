"""A real database whose answers can be lost: what was committed is committed, but nobody
hears of it; or it is committed only later.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from relay.errors import CommitInDoubt, StoreUnavailable
from relay.store.database import Database, OnSignal, Row, Value, Write

T = TypeVar("T")


class ForgetfulDatabase:
    def __init__(self, database: Database) -> None:
        self.single_writer = database.single_writer
        self.answers_to_lose = 0
        self.writes_to_hold = 0
        self._held: list[Sequence[Write[Any]]] = []
        self._database = database

    def now(self) -> float:
        return self._database.now()

    async def steady_s(self) -> float:
        return await self._database.steady_s()

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        return await self._database.fetch(sql, *values)

    async def write(self, script: Write[T]) -> T:
        value: T = (await self.write_all([script]))[0]
        return value

    async def land(self) -> None:
        """Commit what was held."""
        held, self._held = self._held, []
        for scripts in held:
            await self._database.write_all(scripts)

    async def write_all(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        if self.writes_to_hold:
            self.writes_to_hold -= 1
            self._held.append(scripts)
            raise CommitInDoubt("the server is frozen")
        answers = await self._database.write_all(scripts)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise CommitInDoubt("the connection broke at COMMIT")
        return answers

    async def signal(self, topic: str, payload: str) -> None:
        await self._database.signal(topic, payload)

    def on_signal(self, callback: OnSignal) -> None:
        self._database.on_signal(callback)

    async def close(self) -> None:
        await self._database.close()


class WatchedDatabase(ForgetfulDatabase):
    """A real database that counts what it is asked, and does not answer while it is down."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked = 0
        self.is_down = False

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        self._ask()
        return await super().fetch(sql, *values)

    async def write_all(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        self._ask()
        return await super().write_all(scripts)

    def _ask(self) -> None:
        self.asked += 1
        if self.is_down:
            raise StoreUnavailable("the database is down")
