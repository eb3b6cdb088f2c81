"""A clock that is set: time follows, and what waits keeps its wait."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from relay.model import Account, State, Tenant
from relay.store import limits
from relay.store.clock import Clock, move, was_set
from relay.store.database import Database, Query, Script
from relay.store.migrate import migrate
from relay.store.sqlite import SqliteDatabase, open_sqlite
from tests.waiting import until

from .conftest import new_spool, put, settlement

HOUR_S = 3600.0
LIMITED = Account("acme", "main", "127.0.0.1", 25, limit_per_minute=2, limit_per_hour=3)


@dataclass
class Wall:
    """A wall clock that somebody sets."""

    at: float

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def wall() -> Wall:
    return Wall(1_800_000_000.0)


@pytest.fixture
async def database(tmp_path: Path, wall: Wall) -> AsyncIterator[SqliteDatabase]:
    database = await open_sqlite(tmp_path / "x.db", clock=Clock(wall, lambda: 5.0))
    await migrate(database)
    yield database
    await database.close()


@pytest.mark.parametrize(
    ("behind_s", "is_set"), [(0.5, False), (-1.9, False), (-3, True), (60, True)]
)
def test_only_a_clock_that_is_far_off_was_set(behind_s: float, is_set: bool) -> None:
    assert was_set(behind_s) is is_set


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S, 0.5])
async def test_the_time_follows_the_wall_clock(
    database: SqliteDatabase, wall: Wall, by_s: float
) -> None:
    wall.at += by_s

    async def has_followed() -> bool:
        return database.now() == pytest.approx(wall.at)

    await until(has_followed, timeout_s=5)


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S, 1.0, -1.0])
async def test_what_left_in_the_last_minutes_still_counts(db: Database, by_s: float) -> None:
    now = 1_800_000_000.0
    for ago_s in (1800, 1, 0):
        await db.write(partial(count_at, now - ago_s))
    assert await db.write(lambda: limits.standing(LIMITED, now)) == (0, now + 1801)
    await db.write(lambda: move(by_s))
    later = now + by_s
    assert await db.write(lambda: limits.standing(LIMITED, later)) == (0, later + 1801)


def count_at(at: float) -> Script[None]:
    yield Query(limits.COUNT, (*LIMITED.key, int(at)))


async def test_a_result_that_was_decided_before_the_clock_was_set_back_waits_no_longer(
    db: Database, acme: Tenant
) -> None:
    spool = new_spool(db)
    await spool.start()
    accepted = await put(spool)
    (delivery,) = await spool.claim("acme/main", 1)
    decided = settlement(spool, delivery, State.DEFERRED, due_in_s=60)
    hour_ahead = replace(
        decided,
        ended_at=decided.ended_at + 3600,
        resolutions=tuple(replace(r, due_at=r.due_at + 3600) for r in decided.resolutions),
    )
    await spool.settle(hour_ahead)
    [row] = await db.fetch("SELECT due_at FROM recipients WHERE message_pk = $1", accepted.pk)
    assert row["due_at"] == pytest.approx(spool.now() + 60, abs=20)
    await spool.close()
