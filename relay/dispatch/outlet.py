"""One account as the dispatcher sees it: what waits in memory for it, and whether it can take more.

Times are of the monotonic clock, brought by the caller. No I/O.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from relay.dispatch.health import Health
from relay.model import Account, Delivery

# So many mails wait in memory for each connection: enough to keep it busy while the next claim is
# made.
AHEAD = 8
# So many mails may be made complete at once: little of each is in memory, and what is complete
# already must not wait for them.
MOST_PREPARING = 500


@dataclass(slots=True, eq=False)
class Outlet:
    """`active` couriers carry its mail, `slow` of them for long already; `preparing` mails are made
    complete first; `promised` connections are for mail that is being stored; `full_until` is when
    its rate limit has room again.
    """

    account: Account
    health: Health = field(default_factory=Health)
    active: int = 0
    slow: int = 0
    preparing: int = 0
    promised: int = 0
    full_until: float = 0.0
    lanes: set[str] = field(default_factory=set)
    _waiting: list[tuple[int, str, int, Delivery]] = field(default_factory=list)
    _pushed: Iterator[int] = field(default_factory=count)

    def push(self, delivery: Delivery) -> None:
        # A mail can be here twice: as leased before this node was buried, and as claimed since.
        place = (delivery.priority, delivery.pk, next(self._pushed), delivery)
        heapq.heappush(self._waiting, place)

    def pop(self, now: float) -> Delivery | None:
        """Return the next by priority, then age; None where nothing waits or it is closed."""
        if not self._waiting or not self.is_open(now):
            return None
        return heapq.heappop(self._waiting)[-1]

    def empty(self) -> list[Delivery]:
        """Return all that waits, and forget it."""
        waiting = [place[-1] for place in self._waiting]
        self._waiting.clear()
        return waiting

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def holds_nothing(self) -> bool:
        """True where none of its mail is in memory."""
        return not self._waiting and not self.active

    @property
    def most_couriers(self) -> int:
        return 1 if self.health.is_doubtful else max(1, self.account.max_connections)

    @property
    def can_start(self) -> bool:
        return bool(self._waiting) and self.active < self.most_couriers

    @property
    def is_stuck(self) -> bool:
        """True where no courier of its own could soon take what waits."""
        return self._target == 0

    @property
    def is_low(self) -> bool:
        target = self._target
        return len(self._waiting) < target // 2 or target == 1

    def is_open(self, now: float) -> bool:
        return now >= self.full_until and now >= self.health.rest_until

    def why_closed(self, now: float) -> str:
        if self.health.rests(now):
            wait_s = self.health.rest_until - now
            return f"account {self.account.id} rests {wait_s:.0f} s more: {self.health.reason}"
        wait_s = max(0.0, self.full_until - now)
        return f"account {self.account.id} is at its rate limit for {wait_s:.0f} s more"

    def room(self, now: float) -> int:
        """Return how many more mails to claim for it."""
        if not self.is_open(now):
            return 0
        most = self.account.batch_size or self._target
        if self.preparing >= MOST_PREPARING:
            return 0
        return max(
            0, min(most, self._target - self.waiting - (self.active if self._target == 1 else 0))
        )

    @property
    def _target(self) -> int:
        quick = max(0, self.most_couriers - self.slow)
        return quick if self.health.is_doubtful else quick * AHEAD
