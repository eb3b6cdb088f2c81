"""What an engine must do, and the one SQL that both understand.

A write is a *script*: a generator that yields statements and is sent their rows. It decides between
statements and does no I/O itself, so the same function runs inside SQLite's thread (one hop for a
whole transaction) and over asyncpg. A script may be run again from its start: it must have no
effect but its statements.

The text of a statement is portable but for these marks:

    $1, $2 …        parameters, as PostgreSQL writes them
    {among:$1}      "is one of the texts in list $1"
    {rows:T1, T2}   VALUES ($1, $2), of an INSERT of which many may be sent at once; T1 and T2 are
                    the types of its values
    {from:T1, T2}   the same before the WHERE of an UPDATE
    {using:T1, T2}  the same before the WHERE of a DELETE
    {skip_locked}   FOR UPDATE SKIP LOCKED
    {for_update}    FOR UPDATE
    {for_share}     FOR SHARE
    {key_share}     FOR KEY SHARE

SQLite has one writer and needs no row locks: there the last four are empty.
"""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Value = str | int | float | bytes | memoryview | bool | None | Sequence[str]


class Row(Protocol):
    """One row of a result; a value is asked for by column name or place."""

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; its rows come back."""

    sql: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Each:
    """One statement for each tuple of values; no rows come back."""

    sql: str
    rows: Sequence[tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Together:
    """Statements about different tables, in any order; no rows come back. Each has its types among
    its marks, so that all of them together cost one round trip.
    """

    parts: tuple[Each, ...]


Step = Query | Each | Together
Script = Generator[Step, Sequence[Row], T]
Write = Callable[[], Script[T]]
OnSignal = Callable[[str, str], None]


class Database(Protocol):
    """One opened database. Every method raises `StoreUnavailable` when it does not answer in time.

    `single_writer` is true where concurrent transactions would only wait for each other.
    """

    single_writer: bool

    def now(self) -> float:
        """Return the database's time (Unix seconds): the one clock for leases and due times."""
        ...

    async def steady_s(self) -> float:
        """Look at the clock, and return for how long it has not been set under the feet of several
        nodes, which learn of it one after another.
        """
        ...

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """Run one reading statement."""
        ...

    async def write(self, script: Write[T]) -> T:
        """Run one script as one transaction; it is synced to disk when this returns.

        Raises DataRejected when the database refuses a value, StoreFull when the disk is full,
        CommitInDoubt when it may have been written.
        """
        ...

    async def write_all(self, scripts: Sequence[Write[Any]]) -> list[Any]:
        """Run several scripts, in order, as one transaction: all or none."""
        ...

    async def signal(self, topic: str, payload: str) -> None:
        """Tell every node of this database, this one included. A hint: it may be lost."""
        ...

    def on_signal(self, callback: OnSignal) -> None:
        """Call `callback(topic, payload)` for each signal."""
        ...

    async def close(self) -> None: ...


MARK = re.compile(r"\{(\w+)(?::(\$\d+))?\}")
TYPES = re.compile(r"\{(rows|from|using):([^}]+)\}")


def render(sql: str, marks: dict[str, str]) -> str:
    """Replace the marks; `marks` maps a name to its text, in which `$n` stands for the mark's
    parameter.
    """
    return MARK.sub(lambda m: marks[m[1]].replace("$n", m[2] or ""), sql)


def plain(sql: str) -> str:
    """Return the text of a statement that is sent alone: the types are of no use to it."""
    return TYPES.sub(lambda m: values_of(types_of(m)) if m[1] == "rows" else "", sql)


def types_of(mark: re.Match[str]) -> list[str]:
    return [name.strip() for name in mark[2].split(",")]


def values_of(types: Sequence[str]) -> str:
    return f"VALUES ({', '.join(f'${n}' for n in range(1, len(types) + 1))})"
