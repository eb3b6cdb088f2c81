"""When each call of an open loop is to be made: at a rate that no answer slows down.

A closed loop waits for an answer before it asks again, so a server that stalls is asked less while
it stalls, and most of the waiting is never seen (coordinated omission). Here the times stand
before the first call, and each wait is counted from its time.
"""

import random
from collections.abc import Callable

FIRST_SHARE = 0.25
STEP = 1.25
FINE_STEPS = 2


def arrivals(rate_s: float, duration_s: float, seed: int) -> list[float]:
    """Return the times (seconds from the start) of calls by many who know nothing of each other: a
    Poisson process. The same seed gives the same times.
    """
    chance = random.Random(seed)
    times: list[float] = []
    at = chance.expovariate(rate_s)
    while at < duration_s:
        times.append(at)
        at += chance.expovariate(rate_s)
    return times


def highest_rate(most_s: float, is_good: Callable[[float], bool]) -> float:
    """Return the highest rate that is good, 0 when a quarter of `most_s` is not: upwards from there
    until one is not, then between the last two.
    """
    good, rate = 0.0, most_s * FIRST_SHARE
    while rate <= most_s * STEP and is_good(rate):
        good, rate = rate, rate * STEP
    bad = rate
    for _ in range(FINE_STEPS if good else 0):
        between = (good + bad) / 2
        if is_good(between):
            good = between
        else:
            bad = between
    return good
