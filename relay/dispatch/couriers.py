"""The tasks that carry mail: each takes one mail of an outlet after another.

Bounded in all. When not every outlet can have as many as it may, tenants take turns by weight, and
an outlet of each in turn: a courier that sees others waiting for a place gives its own up after the
mail in hand.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from relay import maillog
from relay.dispatch.fair import Turns
from relay.dispatch.outlet import Outlet
from relay.model import Delivery

Carry = Callable[[Outlet, Delivery], Awaitable[None]]


class Couriers:
    def __init__(
        self,
        carry: Carry,
        weight: Callable[[Outlet], int],
        most: int,
        clock: Callable[[], float],
    ) -> None:
        """`carry` brings one mail to its end; `weight` is of an outlet's tenant."""
        self._carry = carry
        self._weight = weight
        self._most = most
        self._clock = clock
        self._turns = Turns()
        self._queueing: dict[str, deque[Outlet]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def call(self, outlet: Outlet) -> None:
        """Give the outlet one more courier, now or when its turn comes, if it has mail for one."""
        if not outlet.can_start or self._is_stopping:
            return
        if len(self._tasks) < self._most and not self._queueing:
            self._start(outlet)
            return
        line = self._queueing.setdefault(outlet.account.tenant_id, deque())
        if outlet not in line:
            line.append(outlet)

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
        task = asyncio.create_task(self._work(outlet))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._on_end(outlet, task))

    async def _work(self, outlet: Outlet) -> None:
        while outlet.is_open(self._clock()) and (delivery := outlet.pop()) is not None:
            try:
                await self._carry(outlet, delivery)
            except Exception as error:  # noqa: BLE001 - what waits behind it must be carried
                maillog.fault(delivery.pk, tenant=delivery.tenant_id, where="courier", error=error)
            if self._queueing or self._is_stopping:
                return

    def _on_end(self, outlet: Outlet, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        outlet.active -= 1
        if outlet.is_open(self._clock()):
            self.call(outlet)
        while self._queueing and len(self._tasks) < self._most and not self._is_stopping:
            self._start_next()

    def _start_next(self) -> None:
        """Give one free place to the tenant whose turn it is."""
        tenants = [(t, self._weight(line[0])) for t, line in self._queueing.items()]
        tenant_id = self._turns.next(tenants)
        if tenant_id is None:
            return
        line = self._queueing[tenant_id]
        outlet = line.popleft()
        if not line:
            del self._queueing[tenant_id]
        if outlet.can_start:
            self._start(outlet)
