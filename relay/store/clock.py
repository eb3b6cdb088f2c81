"""The time of a database that has no clock of its own: this machine's, kept so that it can jump
without harm.

Between two looks time goes on by the monotonic clock. A wall clock that is a little off is
followed. One that was set is followed together with what waits: whatever was to wait for so long
still waits for so long (`move`). Times that clients named, and times of what happened, stay.
"""

import time
from collections.abc import Callable

from relay.store.database import Query, Script

STEP_S = 2.0

MOVES = (
    "UPDATE recipients SET due_at = due_at + $1 WHERE state = 'deferred' AND attempts > 0",
    """
    UPDATE messages SET expires_at = expires_at + $1
    WHERE expires_at IS NOT NULL AND final_at IS NULL
    """,
    "UPDATE messages SET late_at = late_at + $1 WHERE late_at IS NOT NULL AND final_at IS NULL",
    "UPDATE nodes SET lease_until = lease_until + $1",
    "UPDATE reporters SET beat_at = beat_at + $1 WHERE beat_at <> quiet_until",
    "UPDATE reporters SET hold_until = hold_until + $1, failing_since = failing_since + $1",
    "UPDATE mailboxes SET due_at = due_at + $1, failing_since = failing_since + $1",
)
# A row of the counts must not meet another on its way.
LIFT_COUNTS = "UPDATE limits SET second = -(second + $1) WHERE second > 0"
LOWER_COUNTS = "UPDATE limits SET second = -second WHERE second < 0"


class Clock:
    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()

    def now(self) -> float:
        return self._monotonic() + self._offset_s

    def behind_s(self) -> float:
        """Return how far the wall clock is ahead of this one."""
        return self._wall() - self.now()

    def follow(self, by_s: float) -> None:
        self._offset_s += by_s


def was_set(behind_s: float) -> bool:
    """Say whether a wall clock that is so far away was set, and did not only drift."""
    return abs(behind_s) > STEP_S


def move(by_s: float) -> Script[None]:
    """Have what waits wait as long as it was to, though the time becomes another."""
    for sql in MOVES:
        yield Query(sql, (by_s,))
    yield Query(LIFT_COUNTS, (round(by_s),))
    yield Query(LOWER_COUNTS)
