"""Rate limits, shared by all nodes and exact in every sliding window: of the mail that leaves by an
account, and of the mail that a tenant gives us.

Each mail is counted in its second. A window of W seconds that ends now covers the W + 1
seconds it touches, so the grain of a second errs on the safe side. Reading and counting happen
under the lock of the account's row, or of a row of the counts that stands for the tenant.
"""

from collections.abc import Callable, Sequence

from relay.model import Account
from relay.store.database import Query, Row, Script

LOCK_ACCOUNT = "SELECT id FROM accounts WHERE tenant_id = $1 AND id = $2 {for_update}"
COUNTS = """
SELECT second, mails FROM limits WHERE tenant_id = $1 AND account_id = $2 AND second >= $3 ORDER BY
    second
"""
COUNT = """
INSERT INTO limits (tenant_id, account_id, second, mails) VALUES ($1, $2, $3, 1)
ON CONFLICT (tenant_id, account_id, second) DO UPDATE SET mails = limits.mails + 1
"""
# A tenant's own counts stand under an account without a name.
OWN = ""
LOCK_TENANT = """
INSERT INTO limits (tenant_id, account_id, second, mails) VALUES ($1, '', 0, 0)
ON CONFLICT (tenant_id, account_id, second) DO UPDATE SET mails = 0
"""
COUNT_GIVEN = """
INSERT INTO limits (tenant_id, account_id, second, mails) VALUES ($1, '', $2, $3)
ON CONFLICT (tenant_id, account_id, second) DO UPDATE SET mails = limits.mails + $3
"""
FORGET = "DELETE FROM limits WHERE second < $1"

LONGEST_WINDOW_S = 86_400

Window = tuple[int, int]
Counts = Sequence[tuple[int, int]]


def windows(account: Account) -> list[Window]:
    """Return the account's (window in seconds, mails allowed in it)."""
    limits = (
        (60, account.limit_per_minute),
        (3600, account.limit_per_hour),
        (LONGEST_WINDOW_S, account.limit_per_day),
    )
    return [(window_s, most) for window_s, most in limits if most]


def free_at(account: Account, counts: Counts, now: float) -> int | None:
    """Return None when one more mail may leave now, else the first second in which it may.

    `counts` are (second, mails) by ascending second.
    """
    return first_free(windows(account), counts, now)


def first_free(limits: Sequence[Window], counts: Counts, now: float) -> int | None:
    second = int(now)
    earliest = second
    for window_s, most in limits:
        inside = [(at, mails) for at, mails in counts if at >= second - window_s]
        excess = sum(mails for _, mails in inside) + 1 - most
        for at, mails in inside:
            if excess <= 0:
                break
            excess -= mails
            earliest = max(earliest, at + window_s + 1)
    return None if earliest == second else earliest


def room(account: Account, counts: Counts, now: float) -> int:
    """Return how many mails may leave now."""
    return free_room(windows(account), counts, now)


def free_room(limits: Sequence[Window], counts: Counts, now: float) -> int:
    second = int(now)
    return max(
        0,
        min(
            most - sum(mails for at, mails in counts if at >= second - window_s)
            for window_s, most in limits
        ),
    )


def read_counts(account: Account, now: float) -> Script[list[tuple[int, int]]]:
    longest_s = max(window_s for window_s, _ in windows(account))
    rows: Sequence[Row] = yield Query(COUNTS, (*account.key, int(now) - longest_s))
    return [(row["second"], row["mails"]) for row in rows]


def reserve(account: Account, clock: Callable[[], float]) -> Script[float | None]:
    """Count one mail as leaving now and return None, or say when there is room (Unix seconds)."""
    yield Query(LOCK_ACCOUNT, account.key)
    # Not before: another may have held the row for a while, and the mail leaves only now.
    now = clock()
    counts = yield from read_counts(account, now)
    wait_until = free_at(account, counts, now)
    if wait_until is not None:
        return float(wait_until)
    yield Query(COUNT, (*account.key, int(now)))
    return None


def standing(account: Account, now: float) -> Script[tuple[int, float | None]]:
    """Return (how many mails may leave now, when there is room if none may)."""
    counts = yield from read_counts(account, now)
    return room(account, counts, now), free_at(account, counts, now)


def quota(tenant_id: str, limits: Sequence[Window], now: float) -> Script[tuple[int, float]]:
    """Return how many mails the tenant may give now, and for how long it waits after that
    (seconds); nobody else counts until this commits.
    """
    yield Query(LOCK_TENANT, (tenant_id,))
    rows = yield Query(COUNTS, (tenant_id, OWN, int(now) - LONGEST_WINDOW_S))
    counts = [(row["second"], row["mails"]) for row in rows if row["second"]]
    free = free_room(limits, counts, now)
    # As it will be when the room is used up.
    filled = [*counts, (int(now), free)]
    wait_until = first_free(limits, filled, now)
    return free, LONGEST_WINDOW_S if wait_until is None else wait_until - now


def count_given(tenant_id: str, mails: int, now: float) -> Script[None]:
    yield Query(COUNT_GIVEN, (tenant_id, int(now), mails))


def forget(now: float) -> Script[None]:
    """Drop the counts that no window reaches any more."""
    yield Query(FORGET, (int(now) - LONGEST_WINDOW_S - 2,))
