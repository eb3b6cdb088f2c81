"""Figures of several runs, as a reader wants them: the median, and how far they lie apart."""

import statistics
from collections.abc import Sequence

from bench.results import Cell, Check, Row


def shown(values: Sequence[float]) -> str:
    """Return "median (least-most)", with no more digits than mean something."""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def percentile_ms(waits_s: Sequence[float], share: float) -> float:
    ordered = sorted(waits_s)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else shown(cell)


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(titles: Sequence[str]) -> str:
    return f"{line(titles)}\n{line(['---'] * len(titles))}"


def row(found: Row) -> str:
    return line([text(cell) for cell in found.cells])


def verdict(check: Check) -> str:
    """Return the row of a goal: what, what it should be, what it was, whether that will do."""
    goal = check.goal
    wanted = f"{'at least' if goal.at_least else 'at most'} {goal.bound:,g} {goal.unit}"
    reached = "yes" if goal.is_reached(check.values) else "**no**"
    return line([check.what, wanted, f"{shown(check.values)} {goal.unit}", reached])
