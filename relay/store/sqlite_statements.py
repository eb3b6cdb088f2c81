"""Our statements as SQLite's, and how a step of a script is taken by them."""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from relay.store.database import (
    TYPES,
    Each,
    Query,
    Row,
    Step,
    Together,
    Value,
    plain,
    render,
    types_of,
)

Reorder = Callable[[tuple[Any, ...]], tuple[Any, ...]]

MARKS = {
    "among": "IN (SELECT value FROM json_each($n))",
    "skip_locked": "",
    "for_update": "",
    "for_share": "",
    "key_share": "",
}

PARAMETER = re.compile(r"\$(\d+)")

# At each statement the thread lets go of the interpreter, and waits for the event loop to get it
# back: so rows go together, in a few sizes, of which the statements are kept.
ROWS_AT_ONCE = (16, 8, 4, 2)


@lru_cache(maxsize=512)
def compiled(sql: str) -> tuple[str, Reorder | None]:
    """Return SQLite's text and what puts its values into their order, None where they stand in it
    already.

    Plain `?` takes tuples, which cost less to bind than the dicts that `$1` would need.
    """
    text = render(plain(sql), MARKS)
    order = tuple(int(n) - 1 for n in PARAMETER.findall(text))
    return PARAMETER.sub("?", text), reordering(order)


def reordering(order: tuple[int, ...]) -> Reorder | None:
    if order == tuple(range(len(order))):
        return None
    if len(order) == 1:
        return itemgetter(slice(order[0], order[0] + 1))
    return itemgetter(*order)


def bound(values: tuple[Value, ...], reorder: Reorder | None) -> tuple[Any, ...]:
    plain = tuple([json.dumps(v) if isinstance(v, list | tuple) else v for v in values])
    return plain if reorder is None else reorder(plain)


def execute(connection: sqlite3.Connection, step: Step) -> Sequence[Row]:
    if isinstance(step, Query):
        sql, reorder = compiled(step.sql)
        return connection.execute(sql, bound(step.values, reorder)).fetchall()
    for each in step.parts if isinstance(step, Together) else (step,):
        rows = execute_together(connection, each) if goes_together(each.sql) else each.rows
        sql, reorder = compiled(each.sql)
        connection.executemany(sql, rows if reorder is None else map(reorder, rows))
    return ()


@lru_cache(maxsize=512)
def goes_together(sql: str) -> bool:
    return TYPES.search(sql) is not None


def execute_together(connection: sqlite3.Connection, each: Each) -> Sequence[tuple[Value, ...]]:
    """Write as many rows at once as go; return the rest."""
    rows, at = each.rows, 0
    for count in ROWS_AT_ONCE:
        while count <= len(rows) - at:
            connection.execute(for_rows(each.sql, count), [*chain(*rows[at : at + count])])
            at += count
    return rows[at:]


@lru_cache(maxsize=512)
def for_rows(sql: str, count: int) -> str:
    """Return SQLite's text of a statement for so many rows."""
    mark = TYPES.search(sql)
    assert mark is not None, sql  # noqa: S101 - a statement of ours without its types
    row = f"({', '.join('?' for _ in types_of(mark))})"
    values = f"VALUES {', '.join([row] * count)}"
    if mark[1] == "rows":
        return TYPES.sub(values, sql)
    by_name = PARAMETER.sub(r"given.column\1", sql)
    if mark[1] == "from":
        return TYPES.sub(f"FROM ({values}) AS given", by_name)
    # SQLite has no DELETE … USING.
    return TYPES.sub("", sql).replace("= $1", f"IN ({values})")
