"""The dispatcher: what is due goes to the accounts that can carry it.

Promises: mail that is accepted is begun at once where its account has room; of an account's mail,
priority goes first, then age; no tenant holds up another: when not all can be sent at once they
take turns by weight. Bounded: the deliveries at once, the mail and bytes in memory.

A *lane* is a queue in the store (see `relay.model.lane_of`), an *outlet* an account with what waits
in memory for it, a *courier* the task that carries an outlet's mail over one connection, one after
another.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from relay import maillog
from relay.attachments.prepare import Preparer
from relay.dispatch.claims import next_lanes, share
from relay.dispatch.couriers import Couriers
from relay.dispatch.deliver import Deliverer, LimitReached, deferred
from relay.dispatch.health import Health
from relay.dispatch.holdings import Holdings, held_bytes
from relay.dispatch.outlet import Outlet
from relay.dispatch.preparing import Preparing
from relay.dispatch.results import Results
from relay.dispatch.settings import DispatchSettings
from relay.dispatch.settler import Settler
from relay.dispatch.ways import Ways
from relay.errors import (
    AccountFault,
    AttachmentGone,
    AttachmentUnavailable,
    Fenced,
    Held,
    RelayError,
    StorageUnavailable,
    Temporary,
)
from relay.metrics import Metrics
from relay.model import Delivery, LimitBehavior
from relay.store import limits
from relay.store.spool import Spool

AFTER_TROUBLE_S = 1.0
# RFC 3463 §3.5: mail system congestion.
CONGESTED = "5.4.5"
# RFC 4468 §5: message content not available.
NOT_AVAILABLE = "5.6.6"


class Dispatcher:
    """The `Taker` of a node's spool."""

    def __init__(
        self,
        spool: Spool,
        ways: Ways,
        preparer: Preparer,
        deliverer: Deliverer,
        settler: Settler,
        results: Results,
        metrics: Metrics,
        settings: DispatchSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._ways = ways
        self._deliverer = deliverer
        self._settler = settler
        self._results = results
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._due: set[str] = set()
        self._ready: dict[str, None] = {}
        self._wakened = asyncio.Event()
        self._couriers = Couriers(
            self._carry, self._weight, self._back, settings.max_deliveries, clock
        )
        self._preparing = Preparing(spool, preparer, self._prepared, self._troubled)
        self._task: asyncio.Task[None] | None = None
        self._holdings = Holdings(settings.memory_messages, settings.memory_bytes)
        self._is_stopping = False

    # The Taker: called by the spool, never waits.
    def reserve(self, lane: str, size_bytes: int) -> bool:
        # What waits in the store was there before: a newcomer does not pass it.
        if lane in self._due or not self._settings.hands_over or not self._is_able:
            return False
        outlet = self._ways.open_outlet(lane)
        if outlet is None or outlet.account.is_limited or not self._holdings.has_room_for(outlet):
            return False
        self._holdings.hold(size_bytes)
        return True

    def cancel(self, lane: str, size_bytes: int) -> None:
        self._let_go(size_bytes)

    def take(self, delivery: Delivery) -> None:
        outlet = self._ways.open_outlet(delivery.lane)
        if outlet is None or self._is_stopping:
            self._give_back([delivery])
            self._let_go(held_bytes(delivery))
        else:
            self._push(outlet, delivery)

    def notice(self, lanes: Iterable[str]) -> None:
        for lane in lanes:
            self._due.add(lane)
            self._ready[lane] = None
        self._wakened.set()

    # Life.
    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, budget_s: float) -> None:
        """Begin nothing new, let what is under way end inside the budget, give the rest back."""
        self._is_stopping = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for outlet in self._ways.outlets:
            self._give_back(outlet.empty())
        await self._couriers.stop(budget_s)
        await self._preparing.stop()
        try:
            async with asyncio.timeout(max(1.0, budget_s)):
                await self._settler.drained()
        except TimeoutError:
            maillog.store_trouble(Temporary("results of deliveries could not be written"))

    def forget(self, tenant_id: str) -> None:
        """Look at a tenant's lanes again: something of it changed."""
        self.notice(self._ways.forget(tenant_id))

    async def inherit(self, deliveries: Sequence[Delivery]) -> None:
        """Settle what a dead node had begun."""
        for delivery in deliveries:
            await self._ways.find(delivery.lane)
            self._results.in_doubt(delivery)

    async def expire(self, deliveries: Sequence[Delivery]) -> None:
        """Give up mail that is too old."""
        for delivery in deliveries:
            await self._ways.find(delivery.lane)
            self._results.expired(delivery)

    @property
    def troubled(self) -> list[tuple[Outlet, float]]:
        """Return the outlets that had faults since a success, with the seconds they still rest."""
        now = self._clock()
        return [
            (outlet, max(0.0, outlet.health.rest_until - now))
            for outlet in self._ways.outlets
            if outlet.health.is_doubtful
        ]

    def why_waiting(self, lane: str) -> str | None:
        """Say why due mail of a lane is not sent now, None where nothing stands in its way."""
        if not self._ways.is_known(lane) or self._ways.open_outlet(lane):
            return None
        outlets = self._ways.known(lane).outlets
        reasons = [outlet.why_closed(self._clock()) for outlet in outlets]
        return "; ".join(reasons) or "no account can carry this mail"

    @property
    def lanes_due(self) -> list[str]:
        return sorted(self._due)

    # Claiming: from the store into memory.
    async def _run(self) -> None:
        while True:
            await self._wakened.wait()
            await asyncio.sleep(self._settings.tick_s)
            self._wakened.clear()
            try:
                await self._refill()
            except* RelayError as group:
                maillog.store_trouble(group.exceptions[0])
                await self._pause()
            except* Exception as group:  # noqa: BLE001 - the loop must live
                maillog.unexpected("dispatch", group)
                await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(AFTER_TROUBLE_S)
        self.notice(list(self._due))

    async def _refill(self) -> None:
        """Claim for every lane that has work and whose account has room."""
        while self._is_able and (lanes := next_lanes(self._ready, self._ways, self._holdings)):
            most = share(self._holdings, len(lanes))
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    if lane in self._due:
                        group.create_task(self._claim(lane, most))

    async def _claim(self, lane: str, its_share: int) -> None:
        await self._ways.find(lane)
        outlet = self._ways.open_outlet(lane)
        most = min(its_share, await self._claimable(outlet)) if outlet else 0
        if outlet is None or most <= 0:
            return
        # Before the claim, so that work which is announced meanwhile is not forgotten.
        self._due.discard(lane)
        try:
            deliveries = await self._spool.claim(lane, most)
        except RelayError:
            self._due.add(lane)
            raise
        if not outlet.is_open(self._clock()):
            # It closed meanwhile. What it had goes back too, so that all of it keeps its order.
            self._give_back(deliveries)
            self.notice([lane])
            return
        for delivery in deliveries:
            self._holdings.hold(held_bytes(delivery))
            self._push(outlet, delivery)
        if sum(len(d.pending) for d in deliveries) >= most:
            self._due.add(lane)
            if outlet.is_low:
                self._ready[lane] = None

    async def _claimable(self, outlet: Outlet) -> int:
        most = outlet.room(self._clock())
        account = outlet.account
        if most <= 0 or not account.is_limited or account.limit_behavior is LimitBehavior.REJECT:
            return most
        now = self._spool.now()
        free, free_at = await self._spool.database.write(lambda: limits.standing(account, now))
        if free_at is not None:
            self._close_until(outlet, free_at)
        return min(most, free - outlet.waiting - outlet.preparing - outlet.active)

    # Carrying: from memory to the upstream.
    def _push(self, outlet: Outlet, delivery: Delivery) -> None:
        outlet.push(delivery)
        self._couriers.call(outlet)

    def _weight(self, outlet: Outlet) -> int:
        return self._ways.known(next(iter(outlet.lanes))).weight

    async def _carry(self, outlet: Outlet, delivery: Delivery) -> None:
        if outlet.is_low:
            self._want_more(outlet)
        try:
            if self._is_over(delivery):
                return
            if delivery.is_prepared:
                await self._deliver(outlet, delivery)
            else:
                self._preparing.start(outlet, delivery)
        finally:
            self._let_go(held_bytes(delivery))

    def _want_more(self, outlet: Outlet) -> None:
        wanted = self._due if len(self._due) < len(outlet.lanes) else outlet.lanes
        for lane in wanted:
            if lane in self._due and lane in outlet.lanes:
                self._ready[lane] = None
                self._wakened.set()

    async def _deliver(self, outlet: Outlet, delivery: Delivery) -> None:
        """Deliver one mail over the outlet's account and settle what came of it."""
        account, started_at = outlet.account, self._spool.now()
        try:
            outcomes = await self._deliverer.deliver(delivery, account)
        except Exception as error:  # noqa: BLE001 - one mail's fault must not stop the others
            await self._troubled(outlet, delivery, error, started_at)
        else:
            self._recover(outlet)
            self._results.attempted(account, delivery, outcomes, started_at)

    def _prepared(self, outlet: Outlet, delivery: Delivery) -> None:
        """Let a mail that is complete now stand in line with the others."""
        if outlet.is_open(self._clock()) and not self._is_stopping:
            self._holdings.hold(held_bytes(delivery))
            self._push(outlet, delivery)
        else:
            self._give_back([delivery])

    async def _troubled(
        self, outlet: Outlet, delivery: Delivery, error: Exception, started_at: float
    ) -> None:
        """Settle a mail of which nobody was taken."""
        account = outlet.account
        match error:
            case Held():
                # Somebody took it back; were it in part only, the rest is given back too.
                self._give_back([delivery])
            case AccountFault():
                self._rest(outlet, error, delivery)
            case LimitReached():
                self._limit(outlet, error, delivery)
            case Fenced():
                maillog.fenced(delivery.pk, tenant=delivery.tenant_id)
            case AttachmentUnavailable() | StorageUnavailable():
                outcomes = deferred(delivery, str(error), "attachments")
                self._results.attempted(account, delivery, outcomes, started_at)
            case AttachmentGone():
                self._results.failed(delivery, account.id, str(error), NOT_AVAILABLE)
            case RelayError():
                maillog.store_trouble(error)
                self._give_back([delivery])
                await asyncio.sleep(AFTER_TROUBLE_S)
            case _:
                maillog.unexpected("deliver", error)
                outcomes = deferred(delivery, "a fault inside the relay", "connect")
                self._results.attempted(account, delivery, outcomes, started_at)

    def _is_over(self, delivery: Delivery) -> bool:
        """Settle mail that is not to be sent any more: it is too old, or was suspended since it was
        claimed.
        """
        if self._results.is_expired(delivery):
            self._results.expired(delivery)
            return True
        if self._ways.known(delivery.lane).holds(delivery.batch_code):
            self._give_back([delivery])
            return True
        return False

    # An account that cannot be used, or not now.
    def _rest(self, outlet: Outlet, fault: AccountFault, delivery: Delivery) -> None:
        now = self._clock()
        reason = f"{fault.phase}: {fault}"
        was = outlet.health
        outlet.health = was.after_fault(
            reason, now, self._settings.first_rest_s, self._settings.longest_rest_s
        )
        wait_s = outlet.health.rest_until - now
        if outlet.health is not was:
            account = outlet.account
            maillog.account_rests(account.tenant_id, account.id, wait_s=wait_s, reason=reason)
        self._give_back([delivery])
        self._close(outlet, wait_s)

    def _recover(self, outlet: Outlet) -> None:
        if outlet.health.is_doubtful:
            outlet.health = Health()
            maillog.account_recovered(outlet.account.tenant_id, outlet.account.id)
            self._want_more(outlet)

    def _limit(self, outlet: Outlet, reached: LimitReached, delivery: Delivery) -> None:
        account = outlet.account
        self._metrics.rate_limited(account.tenant_id, account.id)
        if account.limit_behavior is LimitBehavior.REJECT:
            reply = f"the rate limit of account {account.id} is reached"
            self._results.failed(delivery, account.id, reply, CONGESTED)
            return
        self._give_back([delivery])
        self._close_until(outlet, reached.free_at)

    def _close_until(self, outlet: Outlet, free_at: float) -> None:
        wait_s = max(0.0, free_at - self._spool.now())
        outlet.full_until = self._clock() + wait_s
        self._close(outlet, wait_s)

    def _close(self, outlet: Outlet, wait_s: float) -> None:
        """Give back what waits, and look at the lanes when the outlet may work again.

        A routed lane may have another way now.
        """
        self._empty(outlet)
        self.notice([lane for lane in outlet.lanes if self._ways.open_outlet(lane)])
        asyncio.get_running_loop().call_later(wait_s + 0.01, self.notice, outlet.lanes)

    async def set_slow_aside(self) -> None:
        """Have slow deliveries leave their places to others, and nothing wait behind them."""
        for hand in self._couriers.slow:
            if self._holdings.set_aside(held_bytes(hand.delivery)):
                self._couriers.set_aside(hand)
                if hand.outlet.is_stuck:
                    self._empty(hand.outlet)
                self._wakened.set()

    def _back(self, outlet: Outlet, delivery: Delivery) -> None:
        self._holdings.take_back(held_bytes(delivery))
        self.notice(outlet.lanes & self._due)

    def _empty(self, outlet: Outlet) -> None:
        waiting = outlet.empty()
        self._give_back(waiting)
        for delivery in waiting:
            self._let_go(held_bytes(delivery))

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._results.given_back(deliveries)
        self._due.update(delivery.lane for delivery in deliveries)

    @property
    def _is_able(self) -> bool:
        return self._settler.is_clear and not self._is_stopping

    def _let_go(self, size_bytes: int) -> None:
        self._holdings.let_go(size_bytes)
        if self._ready:
            self._wakened.set()
