"""Whose mail is read from the store next, and how much of it. Pure.

As long as there is room, lanes in turn. When memory is full, which slow upstreams may fill, those
lanes still have a little whose outlet holds nothing: they wait for nobody else's.
"""

from itertools import islice

from relay.dispatch.holdings import Holdings
from relay.dispatch.ways import Ways

CLAIMS_AT_ONCE = 100


def next_lanes(ready: dict[str, None], ways: Ways, holdings: Holdings) -> list[str]:
    """Take lanes that may be claimed for out of `ready`; the others go to its end."""
    if not holdings.has_reserve:
        return []
    lanes = list(islice(ready, CLAIMS_AT_ONCE))
    for lane in lanes:
        del ready[lane]
    if holdings.has_room:
        return lanes
    chosen = [lane for lane in lanes if holds_nothing(lane, ways)]
    ready.update(dict.fromkeys(lane for lane in lanes if lane not in chosen))
    return chosen


def holds_nothing(lane: str, ways: Ways) -> bool:
    outlet = ways.open_outlet(lane)
    return outlet is None or outlet.holds_nothing


def share(holdings: Holdings, lanes: int) -> int:
    """Return how many mails each of so many lanes may have."""
    return max(1, holdings.free_messages // lanes)
