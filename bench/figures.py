"""Figures of several runs, as a reader wants them: the median, and how far they lie apart."""

import statistics
from collections.abc import Sequence


def shown(values: Sequence[float]) -> str:
    """Return "median (least-most)", with no more digits than mean something."""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the ratio between neighbours in time, the only ones whose machine was the same."""
    return "x" + shown([our / their for our, their in zip(ours, theirs, strict=True)])


def percentile_ms(waits_s: Sequence[float], share: float) -> float:
    ordered = sorted(waits_s)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(titles: Sequence[str]) -> str:
    return f"{row(titles)}\n{row(['---'] * len(titles))}"
