"""When garbage is collected: not while a node starts, and seldom after.

What a start makes stays for good; to look through it again and again as it grows takes a tenth of
the start, and finds next to nothing.
"""

import gc

COLLECT_AFTER = 20_000


def collect_nothing() -> None:
    gc.disable()


def collect_from_now_on() -> None:
    """Leave all that is there out of it. A mail makes hundreds of objects and next to no cycles, so
    look less often than Python does.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    gc.enable()
