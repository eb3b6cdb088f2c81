"""What a measurement finds, as data: tables of runs, and goals with what was reached."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DIGITS = 4

Cell = str | Sequence[float]


@dataclass(frozen=True, slots=True)
class Head:
    """A table begins; its rows follow."""

    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A cell is a text, or the values of the runs."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    bound: float
    unit: str
    at_least: bool = True

    def is_reached(self, values: Sequence[float]) -> bool:
        """Say whether the median of the runs is good enough."""
        middle = statistics.median(values)
        return middle >= self.bound if self.at_least else middle <= self.bound


@dataclass(frozen=True, slots=True)
class Check:
    """What was measured, beside what it should be."""

    what: str
    values: Sequence[float]
    goal: Goal


@dataclass(frozen=True, slots=True)
class Table:
    titles: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Results:
    tables: list[Table] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


Finding = Head | Row | Check


def gathered(findings: Iterable[Finding]) -> Results:
    results = Results()
    for finding in findings:
        match finding:
            case Head(titles):
                results.tables.append(Table(titles))
            case Row():
                results.tables[-1].rows.append(finding)
            case Check():
                results.checks.append(finding)
    return results


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratios between neighbours in time, the only ones whose machine was the same."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def to_json(results: Results) -> dict[str, Any]:
    return {
        "tables": [
            {"titles": table.titles, "rows": [[brief(c) for c in r.cells] for r in table.rows]}
            for table in results.tables
        ],
        "checks": [
            {
                "what": check.what,
                "values": brief(check.values),
                "bound": check.goal.bound,
                "unit": check.goal.unit,
                "at_least": check.goal.at_least,
            }
            for check in results.checks
        ],
    }


def from_json(data: Mapping[str, Any]) -> Results:
    tables = [
        Table(tuple(table["titles"]), [Row(tuple(cells)) for cells in table["rows"]])
        for table in data["tables"]
    ]
    checks = [
        Check(c["what"], c["values"], Goal(c["bound"], c["unit"], c["at_least"]))
        for c in data["checks"]
    ]
    return Results(tables, checks)


def brief(cell: Cell) -> str | list[float]:
    """Keep as many digits as the page could ever show."""
    if isinstance(cell, str):
        return cell
    return [float(f"{value:.{DIGITS}g}") for value in cell]
