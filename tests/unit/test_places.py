"""What is stored as begun: mail for which there is a connection that nobody else was promised."""

from relay.dispatch.holdings import Holdings
from relay.dispatch.outlet import Outlet
from relay.dispatch.places import Place, Places
from relay.model import Account
from tests.unit.test_dispatch_rules import delivery


class Room:
    """Places of one account of which so many connections are open."""

    def __init__(self, connections: int) -> None:
        self.outlet = Outlet(Account("acme", "main", "127.0.0.1", 25))
        self.places = Places(lambda _: self.outlet, Holdings(100, 1_000), lambda _: connections)

    def reserve(self, *, may_begin: bool = True) -> Place:
        place = self.places.reserve("acme/=main", 1, may_begin=may_begin)
        assert place is not None
        return place


def test_no_more_mail_is_begun_than_connections_are_open() -> None:
    room = Room(connections=2)
    first, *others = [room.reserve() for _ in range(3)]
    assert [place.is_begun for place in (first, *others)] == [True, True, False]
    room.places.leave(first)
    assert room.reserve().is_begun
    assert not room.reserve().is_begun


def test_a_connection_that_is_in_use_for_long_is_promised_to_nobody() -> None:
    room = Room(connections=2)
    room.outlet.active = 2
    room.outlet.slow = 1
    assert [room.reserve().is_begun for _ in range(2)] == [True, False]


def test_mail_that_others_wait_before_is_not_begun() -> None:
    room = Room(connections=2)
    room.outlet.push(delivery())
    assert not room.reserve().is_begun


def test_mail_that_must_never_go_out_twice_is_not_begun() -> None:
    room = Room(connections=2)
    assert not room.reserve(may_begin=False).is_begun
