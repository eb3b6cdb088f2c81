"""All that was measured, as a file beside the page that is made of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Results, from_json, to_json


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one section. `is_quick`: of runs that are too short to be relied on."""

    date: str
    is_quick: bool
    results: Results


@dataclass(frozen=True, slots=True)
class Report:
    """The machine, and what was measured on it, by the name of the section."""

    machine: Mapping[str, str]
    sections: dict[str, Measured] = field(default_factory=dict)


def read(path: Path) -> Report:
    """Read a report; one that is not there yet is empty."""
    if not path.exists():
        return Report({})
    data = json.loads(path.read_text())
    sections = {
        name: Measured(each["date"], each["quick"], from_json(each))
        for name, each in data["sections"].items()
    }
    return Report(data["machine"], sections)


def write(path: Path, report: Report) -> None:
    """Write it with a line for each section, so that a change shows where it is."""
    sections = {
        name: {"date": each.date, "quick": each.is_quick, **to_json(each.results)}
        for name, each in report.sections.items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in sections.items()]
    body = ",\n".join(lines)
    path.write_text(f'{{"machine": {json.dumps(report.machine)},\n"sections": {{\n{body}}}}}\n')
