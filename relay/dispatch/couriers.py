"""The tasks that carry mail: each takes one mail of an outlet after another.

Bounded in all. When not every outlet can have as many as it may, tenants take turns by weight, and
an outlet of each in turn: a courier that sees others waiting for a place gives its own up after the
mail in hand.

Upstreams that hang hold up nobody: a courier whose mail takes long stands aside, that is, keeps its
connection and leaves its place to another. While some stand aside, an outlet without any courier
waits for no turn. Those who stand aside and those who wait for no turn are bounded too.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

from relay import maillog
from relay.dispatch.fair import Turns
from relay.dispatch.outlet import Outlet
from relay.model import Delivery

Carry = Callable[[Outlet, Delivery], Awaitable[None]]
Back = Callable[[Outlet, Delivery], None]

SLOW_S = 2.0
# So many may stand aside for each place.
ASIDE_PER_PLACE = 4


@dataclass(slots=True, eq=False)
class Hand:
    """What a courier has in hand, and since when (monotonic clock)."""

    outlet: Outlet
    delivery: Delivery
    since: float
    is_aside: bool = False


class Couriers:
    def __init__(
        self,
        carry: Carry,
        weight: Callable[[Outlet], int],
        back: Back,
        most: int,
        clock: Callable[[], float],
    ) -> None:
        """`carry` brings one mail to its end; `back` hears of those that end aside; `weight` is of
        an outlet's tenant.
        """
        self._carry = carry
        self._back = back
        self._weight = weight
        self._most = most
        self._clock = clock
        self._turns = Turns()
        self._queueing: dict[str, deque[Outlet]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hands: set[Hand] = set()
        self._aside = 0
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()

    def call(self, outlet: Outlet) -> None:
        """Give the outlet one more courier, now or when its turn comes, if it has mail for one."""
        if not outlet.can_start or self._is_stopping:
            return
        if (self._has_place and not self._queueing) or self._may_pass(outlet):
            self._start(outlet)
            return
        line = self._queueing.setdefault(outlet.account.tenant_id, deque())
        if outlet not in line:
            line.append(outlet)

    @property
    def slow(self) -> list[Hand]:
        """Those whose mail takes long, as many as may still stand aside."""
        before = self._clock() - SLOW_S
        slow = (hand for hand in self._hands if hand.since < before and not hand.is_aside)
        return list(islice(slow, self._most * ASIDE_PER_PLACE - self._aside))

    def set_aside(self, hand: Hand) -> None:
        """Free the place of a courier."""
        hand.is_aside = True
        hand.outlet.slow += 1
        self._aside += 1
        self._fill_places()

    async def stop(self, budget_s: float) -> None:
        """Let what is under way end inside the budget; then cut it off."""
        self._is_stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=budget_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, outlet: Outlet) -> None:
        outlet.active += 1
        task = self._loop.create_task(self._work(outlet))
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_end, outlet))

    async def _work(self, outlet: Outlet) -> None:
        while (delivery := outlet.pop(now := self._clock())) is not None:
            hand = Hand(outlet, delivery, now)
            self._hands.add(hand)
            try:
                await self._carry(outlet, delivery)
            except Exception as error:  # noqa: BLE001 - what waits behind it must be carried
                maillog.fault(delivery.pk, tenant=delivery.tenant_id, where="courier", error=error)
            finally:
                self._hands.remove(hand)
                if hand.is_aside:
                    self._come_back(hand)
            if hand.is_aside or self._queueing or self._is_stopping:
                return

    def _come_back(self, hand: Hand) -> None:
        hand.outlet.slow -= 1
        self._aside -= 1
        self._back(hand.outlet, hand.delivery)

    def _on_end(self, outlet: Outlet, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        outlet.active -= 1
        if outlet.can_start and outlet.is_open(self._clock()):
            self.call(outlet)
        if self._queueing:
            self._fill_places()

    @property
    def _has_place(self) -> bool:
        return len(self._tasks) - self._aside < self._most

    def _may_pass(self, outlet: Outlet) -> bool:
        in_places = len(self._tasks) - self._aside
        return self._aside > 0 and not outlet.active and in_places < self._most * 2

    def _fill_places(self) -> None:
        while self._queueing and self._has_place and not self._is_stopping:
            self._start_next()

    def _start_next(self) -> None:
        """Give one free place to the tenant whose turn it is."""
        tenants = [(t, self._weight(line[0])) for t, line in self._queueing.items()]
        tenant_id = self._turns.next(tenants)
        if tenant_id is None:
            return
        line = self._queueing[tenant_id]
        outlet = line.popleft()
        if outlet.can_start:
            self._start(outlet)
        if outlet.can_start:
            line.append(outlet)
        if not line:
            del self._queueing[tenant_id]
