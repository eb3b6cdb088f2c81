"""Room for mail that is coming in, kept while it is stored, so that it can be sent from memory.

Where a connection stands ready, the mail is stored as begun: what would be written before it is
offered is then written with it, in one commit instead of two. Should the node die just then, the
mail counts as one that may have been sent, which is nearly always true.
"""

from collections.abc import Callable
from dataclasses import dataclass

from relay.dispatch.holdings import Holdings
from relay.dispatch.outlet import Outlet
from relay.dispatch.ways import Ways
from relay.model import Account


@dataclass(slots=True)
class Place:
    """Room for one mail of an outlet. `is_begun`: a connection is promised to it."""

    outlet: Outlet
    size_bytes: int
    is_begun: bool


class Places:
    def __init__(self, ways: Ways, holdings: Holdings, ready: Callable[[Account], int]) -> None:
        """`ready` counts the connections of an account that wait for mail."""
        self._ways = ways
        self._holdings = holdings
        self._ready = ready

    def reserve(self, lane: str, size_bytes: int, *, may_begin: bool) -> Place | None:
        outlet = self._ways.open_outlet(lane)
        if outlet is None or outlet.account.is_limited or not self._holdings.has_room_for(outlet):
            return None
        self._holdings.hold(size_bytes)
        is_begun = (
            may_begin and not outlet.waiting and self._ready(outlet.account) > outlet.promised
        )
        outlet.promised += is_begun
        return Place(outlet, size_bytes, is_begun)

    def leave(self, place: Place) -> None:
        """Give the promise back: it is kept, or the mail does not come."""
        place.outlet.promised -= place.is_begun
