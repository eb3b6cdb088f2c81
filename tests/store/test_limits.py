"""No sliding window ever holds more than the limit, and nobody waits longer than needed."""

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.model import Account
from relay.store.accounts import AccountStore
from relay.store.database import Database, Query
from relay.store.limits import forget, free_at, reserve, room, standing


def limited(**limits: int) -> Account:
    return Account("acme", "main", "127.0.0.1", 25, **limits)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 8),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60),
)
def test_no_window_is_ever_passed_however_the_mails_come(
    per_minute: int, per_hour: int, pauses: list[float]
) -> None:
    account = limited(limit_per_minute=per_minute, limit_per_hour=per_hour)
    now, left = 1000.0, list[float]()
    counts: dict[int, int] = {}
    for pause in pauses:
        now += pause
        known = sorted(counts.items())
        wait_until = free_at(account, known, now)
        assert (room(account, known, now) > 0) == (wait_until is None)
        if wait_until is not None:
            # Room comes exactly then, and not before.
            assert free_at(account, known, wait_until) is None
            assert free_at(account, known, wait_until - 1) is not None
            continue
        counts[int(now)] = counts.get(int(now), 0) + 1
        left.append(now)
    for place, start in enumerate(left):
        assert bisect_left(left, start + 60) - place <= per_minute
        assert bisect_left(left, start + 3600) - place <= per_hour


def test_what_waits_leaves_at_the_earliest_second_that_has_room() -> None:
    account = limited(limit_per_minute=2)
    assert free_at(account, [(100, 1), (130, 1)], 140) == 161
    assert free_at(account, [(100, 1), (130, 1)], 161) is None


def test_the_day_outlasts_the_minute() -> None:
    account = limited(limit_per_minute=5, limit_per_day=2)
    assert free_at(account, [(100, 1), (200, 1)], 300) == 100 + 86_400 + 1


@pytest.fixture
async def account(db: Database, acme: object, keyring: object) -> Account:
    account = limited(limit_per_minute=3)
    await AccountStore(db, keyring).save(account)  # type: ignore[arg-type]
    return account


async def test_reservations_are_counted_in_the_database(db: Database, account: Account) -> None:
    for _ in range(3):
        assert await db.write(lambda: reserve(account, lambda: 1000)) is None
    assert await db.write(lambda: reserve(account, lambda: 1030)) == 1061
    assert await db.write(lambda: standing(account, 1030)) == (0, 1061)
    assert await db.write(lambda: standing(account, 1061)) == (3, None)


def test_a_mail_that_waited_for_its_account_is_counted_when_it_leaves() -> None:
    account, time = limited(limit_per_minute=3), [1000.0]
    script = reserve(account, lambda: time[0])
    next(script)
    time[0] = 1030.0
    script.send([])
    step = script.send([])
    assert isinstance(step, Query)
    assert step.values == (*account.key, 1030)


async def test_counts_that_no_window_reaches_are_forgotten(db: Database, account: Account) -> None:
    await db.write(lambda: reserve(account, lambda: 1000))
    await db.write(lambda: forget(1000 + 86_400))
    assert (await db.fetch("SELECT COUNT(*) AS n FROM limits"))[0]["n"] == 1
    await db.write(lambda: forget(1000 + 86_500))
    assert (await db.fetch("SELECT COUNT(*) AS n FROM limits"))[0]["n"] == 0
