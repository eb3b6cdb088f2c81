"""One bad item of a batch fails alone, whoever finds it bad; the others are committed."""

from collections.abc import Sequence

import pytest

from relay.errors import DataRejected, RelayError, Unwritable
from relay.store.database import Database, Query, Script
from relay.store.writer import Channel, Writer

INSERT = "INSERT INTO instance (name, value) VALUES ($1, 'x')"
NAMES = "SELECT name FROM instance ORDER BY name"


def add(names: Sequence[str]) -> Script[Sequence[str | RelayError]]:
    for name in names:
        if name == "fault":
            raise TypeError("a fault of our own")
        # A value that no engine takes, a statement that none knows.
        yield Query(INSERT if name != "syntax" else "INSERT INTO nowhere VALUES ($1)", (name,))
    return list(names)


@pytest.mark.parametrize(
    ("bad", "kind"), [("double", DataRejected), ("fault", Unwritable), ("syntax", Unwritable)]
)
async def test_an_item_that_cannot_be_written_fails_alone(
    db: Database, bad: str, kind: type[RelayError]
) -> None:
    await db.write(lambda: add(["double"]))
    commits: list[int] = []
    writer = Writer(db, lambda _seconds, items: commits.append(items), lambda: None)
    channels: list[Channel[str, str]] = [writer.channel(add), writer.channel(add)]
    good = [f"good{n:02}" for n in range(40)]
    futures = [channels[n % 2].submit(name) for n, name in enumerate(good)]
    refused = channels[0].submit(bad)
    futures += [channels[1].submit("last")]
    writer.start()
    with pytest.raises(kind):
        await refused
    assert [await future for future in futures] == [*good, "last"]
    await writer.close()
    rows = await db.fetch(NAMES)
    assert [row["name"] for row in rows] == ["double", *good, "last"]
    # Halved until it is found, not one by one.
    assert len(commits) <= 8


async def test_a_script_with_a_fault_leaves_nothing_and_the_database_works(db: Database) -> None:
    with pytest.raises(TypeError):
        await db.write(lambda: add(["first", "fault"]))
    assert await db.fetch(NAMES) == []
    await db.write(lambda: add(["first"]))
