"""What commands print: tables for people, sized to their terminal; JSON for machines.

Data goes to standard output, everything else to standard error. Nothing is cut or coloured where
the output is no terminal; NO_COLOR is honoured (rich does that). What came from outside is shown
without control characters, so that it cannot drive a terminal.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import IO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOT_CUT_COLUMNS = 10_000

STYLES = {
    "sent": "green",
    "failed": "red",
    "bounced": "red",
    "partial": "yellow",
    "deferred": "yellow",
    "cancelled": "dim",
    "suspended": "magenta",
    "running": "green",
    "stopped": "dim",
    "ok": "green",
    "not taken": "dim",
    "to do": "red",
    "note": "yellow",
}


@cache
def console() -> Console:
    width = None if sys.stdout.isatty() else NOT_CUT_COLUMNS
    return Console(width=width, highlight=False, markup=False, emoji=False)


@cache
def notes() -> Console:
    """Return the console for what is no data."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def plain(value: object) -> str:
    """Return a text without what a terminal would obey."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def styled(value: object) -> Text:
    text = plain(value)
    return Text(text, style=STYLES.get(text, ""))


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_line_of_json(value: object, file: IO[str] | None = None) -> None:
    click.echo(json.dumps(value, ensure_ascii=False), file=file)


def show(table: Table) -> None:
    """Print a table; without the blanks at the ends of its lines where nobody looks at it."""
    if sys.stdout.isatty():
        console().print(table)
        return
    with console().capture() as captured:
        console().print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(styled(value) for value in row))
    show(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, those that have one."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, ""):
            grid.add_row(name, styled(value))
    show(grid)


def say(text: str, style: str = "") -> None:
    console().print(Text(plain(text), style=style), soft_wrap=True)


def note(text: str) -> None:
    notes().print(Text(plain(text)))


def yes_no(value: object) -> str:
    return "yes" if value else "no"


def clock(at: float | None) -> str:
    """Show a time in this machine's zone."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def from_now(at: float | None, now: float | None = None) -> str:
    """Say how far a time is: `in 5 min`, `2 h ago`."""
    if at is None:
        return ""
    away_s = at - (time.time() if now is None else now)
    return f"in {span(away_s)}" if away_s > 0 else f"{span(-away_s)} ago"


def span(length_s: float) -> str:
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if length_s >= unit_s * (2 if unit_s > 1 else 1):
            return f"{length_s / unit_s:.0f} {unit}"
    return f"{length_s * 1000:.0f} ms"
