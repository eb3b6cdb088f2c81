"""The bytes of stored mail. A big one lies in parts, so that no driver ever has all of it in a
statement or an answer: they make two or three copies of whatever passes.
"""

import io
from collections.abc import Iterator, Sequence

from relay.store.database import Database, Each, Query, Script, Together, Value

PART_BYTES = 1024 * 1024

INSERT_FIRST = "INSERT INTO contents (message_pk, body) {rows:TEXT, BYTEA}"
REPLACE_FIRST = "UPDATE contents SET body = $2 WHERE message_pk = $1"
INSERT_PART = "INSERT INTO content_parts (message_pk, n, body) VALUES ($1, $2, $3)"
FIRST = "SELECT body FROM contents WHERE message_pk = $1"
PART = "SELECT body FROM content_parts WHERE message_pk = $1 AND n = $2"
DROP_PARTS = "DELETE FROM content_parts WHERE message_pk = $1"
# For those who drop the content of some messages only.
DROP_ORPHANED_PARTS = """
DELETE FROM content_parts WHERE message_pk = $1
    AND NOT EXISTS (SELECT 1 FROM contents WHERE message_pk = $1)
"""


def insert_with(mails: Sequence[tuple[str, bytes]], *rows: Each) -> Script[None]:
    """Store the content of each (pk, content) with what else there is of them."""
    firsts = Each(INSERT_FIRST, [(pk, first(content)) for pk, content in mails])
    if sum(len(content) for _, content in mails) <= PART_BYTES:
        yield Together((*rows, firsts))
        return
    yield Together(rows)
    yield firsts
    parts = [row for pk, content in mails for row in part_rows(pk, content)]
    if parts:
        yield Each(INSERT_PART, parts)


def replace(pk: str, content: bytes) -> Script[None]:
    yield Query(DROP_PARTS, (pk,))
    yield Query(REPLACE_FIRST, (pk, first(content)))
    yield Each(INSERT_PART, list(part_rows(pk, content)))


async def read(database: Database, pk: str) -> bytes | None:
    """Return a mail's bytes, None when they were dropped."""
    rows = await database.fetch(FIRST, pk)
    if not rows:
        return None
    if len(rows[0]["body"]) != PART_BYTES:
        return bytes(rows[0]["body"])
    # A buffer that grows in place: joining a list would hold everything twice.
    whole = io.BytesIO()
    whole.write(rows[0]["body"])
    n = 1
    while rows := await database.fetch(PART, pk, n):
        whole.write(rows[0]["body"])
        n += 1
    return whole.getvalue()


def first(content: bytes) -> Value:
    return content if len(content) <= PART_BYTES else memoryview(content)[:PART_BYTES]


def part_rows(pk: str, content: bytes) -> Iterator[tuple[Value, ...]]:
    view = memoryview(content)
    for n, at in enumerate(range(PART_BYTES, len(content), PART_BYTES), 1):
        yield pk, n, view[at : at + PART_BYTES]
