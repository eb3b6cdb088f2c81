"""From the store into memory: mail is claimed for every lane that has work and whose account has
room.

Promises: what goes wrong with one lane holds up no other; it is looked at again a while later.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from relay import maillog
from relay.dispatch.holdings import Holdings
from relay.dispatch.lanes import Lanes
from relay.dispatch.outlet import Outlet
from relay.dispatch.shares import next_lanes, share
from relay.dispatch.ways import Ways
from relay.errors import RelayError, StoreUnavailable, Unwritable
from relay.model import Delivery, LimitBehavior
from relay.store import limits
from relay.store.spool import Spool

AFTER_TROUBLE_S = 1.0


def is_of_all(trouble: RelayError) -> bool:
    """Say whether the store itself does not work: then no other lane fares better."""
    return isinstance(trouble, StoreUnavailable) and not isinstance(trouble, Unwritable)


class Hands(Protocol):
    """The dispatcher, as the claims see it. No method waits."""

    def is_able(self) -> bool:
        """Say whether more mail may be begun, if there is room for it."""
        ...

    def take_claimed(self, outlet: Outlet, deliveries: Sequence[Delivery]) -> None: ...

    def give_back(self, deliveries: Sequence[Delivery]) -> None: ...

    def close_until(self, outlet: Outlet, free_at: float) -> None:
        """Know that an outlet is at its limit until then (Unix seconds)."""
        ...


class Claims:
    def __init__(
        self,
        spool: Spool,
        ways: Ways,
        lanes: Lanes,
        holdings: Holdings,
        hands: Hands,
        clock: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._ways = ways
        self._lanes = lanes
        self._holdings = holdings
        self._hands = hands
        self._clock = clock

    async def refill(self) -> None:
        """Claim for every lane that has work and whose account has room."""
        while self._hands.is_able() and (
            lanes := next_lanes(self._lanes.ready, self._ways, self._holdings)
        ):
            most = share(self._holdings, len(lanes))
            claims = [self._guarded(lane, most) for lane in lanes if lane in self._lanes.due]
            troubles = [trouble for trouble in await asyncio.gather(*claims) if trouble]
            if troubles:
                maillog.store_trouble(troubles[0])
            if any(is_of_all(trouble) for trouble in troubles):
                await asyncio.sleep(AFTER_TROUBLE_S)

    async def _guarded(self, lane: str, its_share: int) -> RelayError | None:
        """Claim for one lane; return what stood in the way."""
        try:
            await self._claim(lane, its_share)
            return None
        except RelayError as error:
            trouble: RelayError | None = error
        except Exception as error:  # noqa: BLE001 - a fault with one lane must not stop the others
            maillog.unexpected("claim", error)
            trouble = None
        self._lanes.due.add(lane)
        asyncio.get_running_loop().call_later(AFTER_TROUBLE_S, self._lanes.notice, [lane])
        return trouble

    async def _claim(self, lane: str, its_share: int) -> None:
        await self._ways.find(lane)
        outlet = self._ways.open_outlet(lane)
        most = min(its_share, await self._claimable(outlet)) if outlet else 0
        if outlet is None or most <= 0:
            return
        # Before the claim, so that work which is announced meanwhile is not forgotten.
        self._lanes.due.discard(lane)
        deliveries = await self._spool.claim(lane, most)
        if not outlet.is_open(self._clock()):
            # It closed meanwhile. What it had goes back too, so that all of it keeps its order.
            self._hands.give_back(deliveries)
            self._lanes.notice([lane])
            return
        self._hands.take_claimed(outlet, deliveries)
        if sum(len(d.pending) for d in deliveries) >= most:
            self._lanes.due.add(lane)
            if outlet.is_low:
                self._lanes.look_again(lane)

    async def _claimable(self, outlet: Outlet) -> int:
        most = outlet.room(self._clock())
        account = outlet.account
        if most <= 0 or not account.is_limited or account.limit_behavior is LimitBehavior.REJECT:
            return most
        now = self._spool.now()
        free, free_at = await self._spool.database.write(lambda: limits.standing(account, now))
        if free_at is not None:
            self._hands.close_until(outlet, free_at)
        return min(most, free - outlet.waiting - outlet.preparing - outlet.active)
