"""Counting what stands in an index, slice by slice: however much that is, no other statement waits
for more than one slice.

What moves while it is counted may be missed or counted twice.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from relay.store.database import Database, Row, Value

# A few milliseconds of an embedded database.
SLICE = 5_000


@dataclass(frozen=True, slots=True)
class Index:
    """Rows that stand in one index, `key` in its order; `start` is before all of them.

    `where` may have a parameter of its own, $1 if `is_of_one`. `counted` is what is asked of a
    slice, `by` what it is grouped by. It is cheapest where the index has all of that.
    """

    table: str
    where: str
    key: tuple[str, ...]
    start: tuple[Value, ...]
    columns: str
    counted: str
    by: str | None = None
    is_of_one: bool = False

    @property
    def _slice(self) -> str:
        first = 2 if self.is_of_one else 1
        marks = ", ".join(f"${n}" for n in range(first, first + len(self.key)))
        keys = ", ".join(self.key)
        return f"{self.where} AND ({keys}) > ({marks}) ORDER BY {keys} LIMIT"

    @property
    def _next(self) -> int:
        return len(self.key) + self.is_of_one + 1

    @property
    def count(self) -> str:
        """Count one slice; the last value says how long it is."""
        grouped = f" GROUP BY {self.by}" if self.by else ""
        return (
            f"SELECT {self.counted}, COUNT(*) AS rows FROM (SELECT {self.columns}"  # noqa: S608 - of constants
            f" FROM {self.table} WHERE {self._slice} ${self._next}) AS slice{grouped}"
        )

    @property
    def end(self) -> str:
        """Find the key at which a slice ends; the last value is its length less one."""
        return (
            f"SELECT {', '.join(self.key)} FROM {self.table}"  # noqa: S608 - of constants
            f" WHERE {self._slice} 1 OFFSET ${self._next}"
        )


async def slices(
    database: Database, index: Index, *of: Value, size: int = SLICE
) -> AsyncIterator[Sequence[Row]]:
    """Count slice after slice; `of` is the value of the index's own parameter."""
    count, end = index.count, index.end
    start = index.start
    while True:
        rows = await database.fetch(count, *of, *start, size)
        yield rows
        if sum(row["rows"] for row in rows) < size:
            return
        ends = await database.fetch(end, *of, *start, size - 1)
        if not ends:
            return
        start = tuple(ends[0][n] for n in range(len(index.key)))
