"""Which cases are tried on which store: every day each on one of them, in turn; with
PILLARBOX_FAULTS=all, as `make faults` has it, each on both.
"""

import os
from collections.abc import Sequence

from tests.faults.run import STORES

EVERYTHING = os.environ.get("PILLARBOX_FAULTS") == "all"


def on_stores(*cases: object) -> list[Sequence[object]]:
    """Return each case with its store, as `parametrize` takes them; a tuple is spread out."""
    return [
        (*(case if isinstance(case, tuple) else (case,)), store)
        for place, case in enumerate(cases)
        for store in stores(place)
    ]


def stores(place: int = 0) -> Sequence[str]:
    """Return the stores of the case that stands at this place."""
    return STORES if EVERYTHING else (STORES[place % len(STORES)],)
