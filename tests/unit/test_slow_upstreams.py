"""Slow deliveries stand aside: in places, in memory, and in what is claimed for them."""

import asyncio

import pytest

from relay.dispatch.couriers import ASIDE_PER_PLACE, SLOW_S, Couriers
from relay.dispatch.holdings import Holdings
from relay.dispatch.logins import Logins
from relay.dispatch.outlet import Outlet
from relay.errors import AccountFault
from relay.model import Account, ContentTraits, Delivery


def outlet_of(tenant_id: str) -> Outlet:
    return Outlet(Account(tenant_id, "main", "127.0.0.1", 25))


def mail_of(tenant_id: str, number: int) -> Delivery:
    return Delivery(
        epoch=1,
        pk=f"{number:04}",
        id="m",
        tenant_id=tenant_id,
        lane=f"{tenant_id}/=main",
        account_id="main",
        sender="",
        priority=2,
        accepted_at=0.0,
        traits=ContentTraits(),
        size_bytes=0,
        pending=(),
    )


class Carrying:
    """Deliveries that end when they are told to, by a clock that is set."""

    def __init__(self, places: int) -> None:
        self.now = 0.0
        self.carried: list[str] = []
        self.end = asyncio.Event()
        self.couriers = Couriers(self._carry, lambda _o: 1, self._back, places, lambda: self.now)

    async def _carry(self, outlet: Outlet, _delivery: Delivery) -> None:
        self.carried.append(outlet.account.tenant_id)
        await self.end.wait()

    def _back(self, _outlet: Outlet, _delivery: Delivery) -> None: ...

    async def give(self, outlet: Outlet, mails: int = 1) -> None:
        for number in range(mails):
            outlet.push(mail_of(outlet.account.tenant_id, number))
            self.couriers.call(outlet)
        await asyncio.sleep(0)

    async def time_passes(self) -> None:
        self.now += SLOW_S + 1
        for hand in self.couriers.slow:
            self.couriers.set_aside(hand)
        await asyncio.sleep(0)


async def test_a_slow_delivery_leaves_its_place_to_another() -> None:
    carrying = Carrying(places=2)
    await carrying.give(outlet_of("bad"), 2)
    await carrying.give(outlet_of("good"))
    assert carrying.carried == ["bad", "bad"]
    await carrying.time_passes()
    assert carrying.carried == ["bad", "bad", "good"]
    carrying.end.set()
    await carrying.couriers.stop(1)


async def test_those_who_stand_aside_are_bounded() -> None:
    carrying = Carrying(places=1)
    for number in range(10):
        await carrying.give(outlet_of(f"bad{number}"))
    for _ in range(10):
        await carrying.time_passes()
    # As many as may stand aside, the place itself, and one that waits for no turn.
    assert ASIDE_PER_PLACE < len(carrying.carried) <= ASIDE_PER_PLACE + 2
    carrying.end.set()
    await carrying.couriers.stop(1)


async def test_an_outlet_that_had_its_turn_stays_in_line_for_more_places() -> None:
    carrying = Carrying(places=1)
    await carrying.give(outlet_of("first"))
    second = outlet_of("second")
    await carrying.give(second, 3)
    for _ in range(3):
        await carrying.time_passes()
    assert carrying.carried == ["first", "second", "second", "second"]
    carrying.end.set()
    await carrying.couriers.stop(1)


def test_what_stands_aside_leaves_its_room_within_bounds() -> None:
    holdings = Holdings(most_messages=10, most_bytes=100)
    holdings.hold(60)
    holdings.hold(60)
    assert not holdings.has_room
    assert holdings.set_aside(60)
    assert holdings.has_room
    assert not holdings.set_aside(60)
    holdings.let_go(60)
    holdings.take_back(60)
    assert holdings.has_room


def test_who_holds_nothing_has_a_little_room_where_there_is_none() -> None:
    holdings = Holdings(most_messages=2, most_bytes=100)
    bad, good = outlet_of("bad"), outlet_of("good")
    bad.active = 1
    for _ in range(2):
        holdings.hold(0)
    assert (holdings.has_room_for(bad), holdings.has_room_for(good)) == (False, True)
    for _ in range(2):
        holdings.hold(0)
    assert not holdings.has_room_for(good)


async def test_a_login_that_was_refused_is_not_repeated_by_those_who_wait() -> None:
    logins, tried = Logins(), []

    async def log_in() -> None:
        tried.append(1)
        await asyncio.sleep(0)
        raise AccountFault("535 no", phase="auth", code=535)

    faults = await asyncio.gather(
        *(logins.take("key", log_in) for _ in range(5)), return_exceptions=True
    )
    assert [str(fault) for fault in faults] == ["535 no"] * 5
    assert len(tried) == 1
    with pytest.raises(AccountFault):
        await logins.take("key", log_in)
    assert len(tried) == 2
