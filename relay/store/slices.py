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
    def end(self) -> str:
        """Find the key at which a slice ends; the last value is its length less one."""
        keys = ", ".join(self.key)
        return (
            f"SELECT {keys} FROM {self.table} WHERE {self.where} AND {self._beyond(0)}"  # noqa: S608 - of constants
            f" ORDER BY {keys} LIMIT 1 OFFSET ${self._mark(len(self.key))}"
        )

    @property
    def count(self) -> str:
        """Count what is behind one key and not behind another; the last value bounds it, so that
        nobody has to guess how little it is.
        """
        size = self._mark(2 * len(self.key))
        ordered = f"ORDER BY {', '.join(self.key)} LIMIT ${size}"
        within = f"{self._beyond(0)} AND {self._compared('<=', len(self.key))}"
        return self._count(f"{within} {ordered}")

    @property
    def rest(self) -> str:
        """Count what is behind a key."""
        return self._count(self._beyond(0))

    def _count(self, where: str) -> str:
        grouped = f" GROUP BY {self.by}" if self.by else ""
        return (
            f"SELECT {self.counted}, COUNT(*) AS rows FROM (SELECT {self.columns}"  # noqa: S608 - of constants
            f" FROM {self.table} WHERE {self.where} AND {where}) AS slice{grouped}"
        )

    def _beyond(self, before: int) -> str:
        return self._compared(">", before)

    def _compared(self, sign: str, before: int) -> str:
        marks = ", ".join(f"${self._mark(before + n)}" for n in range(len(self.key)))
        return f"({', '.join(self.key)}) {sign} ({marks})"

    def _mark(self, place: int) -> int:
        return place + self.is_of_one + 1


async def slices(
    database: Database, index: Index, *of: Value, size: int = SLICE
) -> AsyncIterator[Sequence[Row]]:
    """Count slice after slice; `of` is the value of the index's own parameter."""
    start = index.start
    while ends := await database.fetch(index.end, *of, *start, size - 1):
        # First its end: what leaves a slice while it is counted must not move the next.
        end = tuple(ends[0][n] for n in range(len(index.key)))
        yield await database.fetch(index.count, *of, *start, *end, size)
        start = end
    yield await database.fetch(index.rest, *of, *start)
