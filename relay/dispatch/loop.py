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
from relay.dispatch.claims import AFTER_TROUBLE_S, Claims
from relay.dispatch.couriers import Couriers
from relay.dispatch.deliver import Deliverer, InDoubt, LimitReached, deferred
from relay.dispatch.health import Health
from relay.dispatch.holdings import Holdings, held_bytes
from relay.dispatch.lanes import Lanes
from relay.dispatch.outlet import Outlet
from relay.dispatch.places import Place, Places
from relay.dispatch.preparing import Preparing
from relay.dispatch.results import Results
from relay.dispatch.retry import most_faults
from relay.dispatch.settings import DispatchSettings
from relay.dispatch.settler import Settler
from relay.dispatch.suspects import Suspects
from relay.dispatch.ways import Ways
from relay.errors import (
    AccountFault,
    AttachmentGone,
    AttachmentUnavailable,
    Fenced,
    Held,
    StorageUnavailable,
    StoreUnavailable,
    Temporary,
    UnsafeStore,
    Unwritable,
)
from relay.metrics import Metrics
from relay.model import Account, Delivery, LimitBehavior
from relay.store.queue.aside import SUSPECT
from relay.store.spool import Spool

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
        self._lanes = Lanes()
        self._holdings = Holdings(settings.memory_messages, settings.memory_bytes)
        self._places = Places(ways.open_outlet, self._holdings, deliverer.standing)
        self._claims = Claims(spool, ways, self._lanes, self._holdings, self, clock)
        self._suspects = Suspects(spool)
        self._couriers = Couriers(
            self._carry, self._weight, self._back, settings.max_deliveries, clock
        )
        self._preparing = Preparing(spool, preparer, self._prepared, self._troubled)
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    # The Taker: called by the spool, never waits.
    def reserve(self, lane: str, size_bytes: int, *, may_begin: bool) -> Place | None:
        # What waits in the store was there before: a newcomer does not pass it.
        if lane in self._lanes.due or not self._settings.hands_over or not self.is_able():
            return None
        return self._places.reserve(lane, size_bytes, may_begin=may_begin)

    def cancel(self, place: Place) -> None:
        self._places.leave(place)
        self._let_go(place.size_bytes)

    def take(self, delivery: Delivery, place: Place) -> None:
        self._places.leave(place)
        outlet = place.outlet
        if self._is_stopping or not outlet.is_open(self._clock()):
            self.give_back([delivery])
            self._let_go(place.size_bytes)
            self.notice([delivery.lane])
        else:
            self._push(outlet, delivery)

    def notice(self, lanes: Iterable[str]) -> None:
        self._lanes.notice(lanes)

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
            self.give_back(outlet.empty())
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
        return sorted(self._lanes.due)

    async def _run(self) -> None:
        while True:
            await self._lanes.wait()
            await asyncio.sleep(self._settings.tick_s)
            self._lanes.sleep()
            await self._claims.refill()

    # The Hands: called by the claims, never wait.
    def is_able(self) -> bool:
        return self._settler.is_clear() and not self._is_stopping

    def take_claimed(self, outlet: Outlet, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._holdings.hold(held_bytes(delivery))
            self._push(outlet, delivery)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._results.given_back(deliveries)
        self._lanes.due.update(delivery.lane for delivery in deliveries)

    def close_until(self, outlet: Outlet, free_at: float) -> None:
        wait_s = max(0.0, free_at - self._spool.now())
        outlet.full_until = self._clock() + wait_s
        self._close(outlet, wait_s)

    # Carrying: from memory to the upstream.
    def _push(self, outlet: Outlet, delivery: Delivery) -> None:
        outlet.push(delivery)
        self._couriers.call(outlet)

    def _weight(self, outlet: Outlet) -> int:
        return self._ways.known(next(iter(outlet.lanes))).weight

    async def _carry(self, outlet: Outlet, delivery: Delivery) -> None:
        if self._lanes.due and outlet.is_low:
            self._lanes.want(outlet.lanes)
        try:
            faults, now = most_faults(delivery), self._spool.now()
            if self._is_over(delivery, faults, now):
                return
            if faults >= SUSPECT:
                await self._carry_suspect(outlet, delivery)
            elif delivery.is_prepared:
                await self._deliver(outlet, delivery, now)
            else:
                self._preparing.start(outlet, delivery)
        except Exception as error:  # noqa: BLE001 - one mail's fault must not stop the others
            self._results.faulted(outlet.account, delivery, error)
        finally:
            self._let_go(held_bytes(delivery))

    async def _carry_suspect(self, outlet: Outlet, delivery: Delivery) -> None:
        """Have one such mail in hand at a time; another waits in the store."""
        try:
            async with self._suspects.in_hand(delivery):
                if delivery.is_prepared:
                    await self._deliver(outlet, delivery, self._spool.now())
                else:
                    await self._preparing.run(outlet, delivery)
        except TimeoutError:
            self._results.put_off(delivery, AFTER_TROUBLE_S)
        except StoreUnavailable as error:
            maillog.store_trouble(error)
            self._results.put_off(delivery, AFTER_TROUBLE_S)

    async def _deliver(self, outlet: Outlet, delivery: Delivery, started_at: float) -> None:
        """Deliver one mail over the outlet's account and settle what came of it."""
        account = outlet.account
        try:
            outcomes = await self._deliverer.deliver(delivery, account)
        except Exception as error:  # noqa: BLE001 - one mail's fault must not stop the others
            await self._troubled(outlet, delivery, error, started_at)
        else:
            if outlet.health.is_doubtful:
                self._recover(outlet)
            self._results.attempted(account, delivery, outcomes, started_at)

    def _prepared(self, outlet: Outlet, delivery: Delivery) -> None:
        """Let a mail that is complete now stand in line with the others."""
        if outlet.is_open(self._clock()) and not self._is_stopping:
            self._holdings.hold(held_bytes(delivery))
            self._push(outlet, delivery)
        else:
            self.give_back([delivery])

    async def _troubled(
        self, outlet: Outlet, delivery: Delivery, error: Exception, started_at: float
    ) -> None:
        """Settle a mail of which nobody was taken."""
        account = outlet.account
        match error:
            case Held():
                # Somebody took it back; were it in part only, the rest is given back too.
                self.give_back([delivery])
            case AccountFault():
                self._rest(outlet, error, delivery)
            case LimitReached():
                self._limit(outlet, error, delivery)
            case Fenced():
                maillog.fenced(delivery.pk, tenant=delivery.tenant_id)
            case AttachmentGone():
                self._results.failed(delivery, account.id, str(error), NOT_AVAILABLE)
            case AttachmentUnavailable() | StorageUnavailable():
                outcomes = deferred(delivery, str(error), "attachments")
                self._results.attempted(account, delivery, outcomes, started_at)
            case Temporary() | UnsafeStore() if not isinstance(error, Unwritable):
                maillog.store_trouble(error)
                self.give_back([delivery])
                await asyncio.sleep(AFTER_TROUBLE_S)
            case _:
                self._fault(account, delivery, error, started_at)

    def _fault(
        self, account: Account, delivery: Delivery, error: Exception, started_at: float
    ) -> None:
        """Settle a mail at which this relay failed by itself."""
        match error:
            case OSError():
                maillog.unexpected("deliver", error)
                outcomes = deferred(delivery, "this relay is short of something", "relay")
                self._results.attempted(account, delivery, outcomes, started_at)
            case InDoubt():
                self._results.faulted(account, delivery, error.__cause__ or error, in_doubt=True)
            case _:
                self._results.faulted(account, delivery, error)

    def _is_over(self, delivery: Delivery, faults: int, now: float) -> bool:
        """Settle mail that is not to be sent any more: it is too old, or was suspended since it was
        claimed.
        """
        if faults and self._results.is_put_aside(faults):
            self._results.put_aside(delivery)
            return True
        if self._results.is_expired(delivery, now):
            self._results.expired(delivery)
            return True
        way = self._ways.known(delivery.lane)
        if way.suspended and way.holds(delivery.batch_code):
            self.give_back([delivery])
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
        self.give_back([delivery])
        self._close(outlet, wait_s)

    def _recover(self, outlet: Outlet) -> None:
        outlet.health = Health()
        maillog.account_recovered(outlet.account.tenant_id, outlet.account.id)
        self._lanes.want(outlet.lanes)

    def _limit(self, outlet: Outlet, reached: LimitReached, delivery: Delivery) -> None:
        account = outlet.account
        self._metrics.rate_limited(account.tenant_id, account.id)
        if account.limit_behavior is LimitBehavior.REJECT:
            reply = f"the rate limit of account {account.id} is reached"
            self._results.failed(delivery, account.id, reply, CONGESTED)
            return
        self.give_back([delivery])
        self.close_until(outlet, reached.free_at)

    def _close(self, outlet: Outlet, wait_s: float) -> None:
        """Give back what waits, and look at the lanes when the outlet may work again.

        A routed lane may have another way now.
        """
        self._empty(outlet)
        self.notice([lane for lane in outlet.lanes if self._ways.open_outlet(lane)])
        asyncio.get_running_loop().call_later(wait_s + 0.01, self.notice, outlet.lanes)

    # An account that is slow.
    async def set_slow_aside(self) -> None:
        """Have slow deliveries leave their places to others, and nothing wait behind them."""
        for hand in self._couriers.slow:
            if self._holdings.set_aside(held_bytes(hand.delivery)):
                self._couriers.set_aside(hand)
                if hand.outlet.is_stuck:
                    self._empty(hand.outlet)
                self._lanes.wake()

    def _back(self, outlet: Outlet, delivery: Delivery) -> None:
        self._holdings.take_back(held_bytes(delivery))
        self.notice(outlet.lanes & self._lanes.due)

    def _empty(self, outlet: Outlet) -> None:
        waiting = outlet.empty()
        self.give_back(waiting)
        for delivery in waiting:
            self._let_go(held_bytes(delivery))

    def _let_go(self, size_bytes: int) -> None:
        self._holdings.let_go(size_bytes)
        if self._lanes.ready:
            self._lanes.wake()
