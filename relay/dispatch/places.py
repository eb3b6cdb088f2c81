"""Room for mail that is coming in, kept while it is stored, so that it can be sent from memory.

Where a connection stands for it, the mail is stored as begun: what would be written before it is
offered is then written with it, in one commit instead of two. Should the node die just then, the
mail counts as one that may have been sent, which is nearly always true. A connection that is in use
counts too, unless it is for long already: it is free again before the commit is made.
"""

from collections.abc import Callable
from dataclasses import dataclass

from relay.dispatch.holdings import Holdings
from relay.dispatch.outlet import Outlet
from relay.model import Account


@dataclass(slots=True)
class Place:
    """Room for one mail of an outlet. `is_begun`: a connection is promised to it."""

    outlet: Outlet
    size_bytes: int
    is_begun: bool


class Places:
    def __init__(
        self,
        open_outlet: Callable[[str], Outlet | None],
        holdings: Holdings,
        standing: Callable[[Account], int],
    ) -> None:
        """`open_outlet` chooses where mail of a lane can go now; `standing` counts the
        connections of an account that are open, in use or not.
        """
        self._open_outlet = open_outlet
        self._holdings = holdings
        self._standing = standing

    def reserve(self, lane: str, size_bytes: int, *, may_begin: bool) -> Place | None:
        outlet = self._open_outlet(lane)
        if outlet is None or outlet.account.is_limited or not self._holdings.has_room_for(outlet):
            return None
        self._holdings.hold(size_bytes)
        is_begun = may_begin and not outlet.waiting and self._has_connection(outlet)
        outlet.promised += is_begun
        return Place(outlet, size_bytes, is_begun)

    def _has_connection(self, outlet: Outlet) -> bool:
        """Say whether there is one that is promised to no other mail, and soon free."""
        return self._standing(outlet.account) - outlet.slow > outlet.promised

    def leave(self, place: Place) -> None:
        """Give the promise back: it is kept, or the mail does not come."""
        place.outlet.promised -= place.is_begun
