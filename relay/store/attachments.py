"""The files of stored mail: where each comes from, what became of it, and the one time a mail is
made complete.

A login that a file is fetched with is sealed at rest, and forgotten when the file is there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from relay.crypto import Keyring
from relay.errors import Held
from relay.model import ContentTraits, Delivery, FetchMode, NewAttachment
from relay.store import contents
from relay.store.database import Database, Each, Query, Row, Script, Value
from relay.store.queue.fence import must_live

OF_MESSAGE = "SELECT * FROM attachments WHERE message_pk = $1 ORDER BY n"
STANDING = "SELECT is_prepared, accepted_at FROM messages WHERE pk = $1 {for_update}"
HOLDS = """
SELECT n FROM recipients WHERE message_pk = $1 AND owner = $2 AND state = 'sending' LIMIT 1
"""
COMPLETE = """
UPDATE messages SET is_prepared = $2, size_bytes = $3, has_8bit = $4, has_utf8_headers = $5,
    longest_line = $6
WHERE pk = $1
"""
SET_FILE = """
UPDATE attachments SET source = NULL, auth = NULL, from_end_bytes = NULL, state = $3, got = $4,
    size_bytes = $5, sha256 = $6, link = $7, link_expires_at = $8
WHERE message_pk = $1 AND n = $2
"""
LINK_FILE = """
UPDATE attachments SET state = 'linked', link = $3, link_expires_at = $4
WHERE message_pk = $1 AND n = $2
"""
INSERT_TAKEN_OUT = """
INSERT INTO attachments (message_pk, n, mode, filename, mime_type, disposition, state, got,
    size_bytes, sha256, link, link_expires_at)
VALUES ($1, $2, 'content', $3, $4, 'attachment', 'linked', 'given', $5, $6, $7, $8)
"""


@dataclass(frozen=True, slots=True)
class Given:
    """A file as a client gave it; `auth` is the login to fetch it with."""

    attachment: NewAttachment
    auth: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that is still to be fetched, and its place in the content."""

    n: int
    mode: FetchMode
    source: str
    filename: str
    mime_type: str
    disposition: str
    content_id: str | None
    from_end_bytes: int
    md5: str | None = None
    auth: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file that was waited for; with a `link` it is not in the mail. `got` is
    fetched, or the tier of the cache that had it.
    """

    n: int
    got: str
    size_bytes: int
    sha256: str
    link: str | None = None
    link_expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class TakenOut:
    """A part of the content itself that became a link."""

    filename: str
    mime_type: str
    size_bytes: int
    sha256: str
    link: str
    link_expires_at: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A mail as it is sent from now on, and what became of its files."""

    content: bytes = field(repr=False)
    traits: ContentTraits
    done: tuple[Done, ...] = ()
    taken_out: tuple[TakenOut, ...] = ()


@dataclass(frozen=True, slots=True)
class AttachmentView:
    """A file as clients see it: nothing of where it came from but how."""

    n: int
    mode: str
    filename: str
    mime_type: str
    state: str
    got: str | None
    size_bytes: int | None
    sha256: str | None
    link: str | None
    link_expires_at: float | None


class AttachmentStore:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def sealed(self, given: Sequence[Given], tenant_id: str, id: str) -> tuple[NewAttachment, ...]:
        """Seal the logins of a new mail's files; `id` is the client's."""
        return tuple(self._sealed(each, tenant_id, id) for each in given)

    async def waiting(self, delivery: Delivery) -> list[Waiting]:
        """Return what a mail lacks, in the order of its places. Raises SecretDamaged."""
        rows = await self._database.fetch(OF_MESSAGE, delivery.pk)
        return [self._waiting(row, delivery) for row in rows if row["source"] is not None]

    async def views(self, pk: str) -> list[AttachmentView]:
        return [view(row) for row in await self._database.fetch(OF_MESSAGE, pk)]

    async def complete(self, delivery: Delivery, prepared: Prepared) -> bool:
        """Store what is sent from now on. False where another delivery of the mail has done it:
        then its bytes are sent. Raises Fenced, Held.
        """
        return await self._database.write(partial(complete, delivery, prepared))

    def _sealed(self, given: Given, tenant_id: str, id: str) -> NewAttachment:
        if given.auth is None:
            return given.attachment
        where = place(tenant_id, id, given.attachment.n)
        auth = self._keyring.seal(json.dumps(given.auth), where=where)
        return replace(given.attachment, auth=auth)

    def _waiting(self, row: Row, delivery: Delivery) -> Waiting:
        where = place(delivery.tenant_id, delivery.id, row["n"])
        auth = None if row["auth"] is None else self._keyring.open(row["auth"], where=where)
        return Waiting(
            n=row["n"],
            mode=FetchMode(row["mode"]),
            source=row["source"],
            filename=row["filename"],
            mime_type=row["mime_type"],
            disposition=row["disposition"],
            content_id=row["content_id"],
            from_end_bytes=row["from_end_bytes"],
            md5=row["md5"],
            auth=None if auth is None else json.loads(auth),
        )


def place(tenant_id: str, id: str, n: int) -> str:
    return f"attachments/{tenant_id}/{id}/{n}/auth"


def complete(delivery: Delivery, prepared: Prepared) -> Script[bool]:
    """Replace the content and tell what became of the files, under the fence."""
    yield from must_live(delivery.epoch)
    rows = yield Query(STANDING, (delivery.pk,))
    holds = yield Query(HOLDS, (delivery.pk, delivery.epoch))
    # A mail that was replaced has the same pk and other bytes.
    if not rows or not holds or rows[0]["accepted_at"] != delivery.accepted_at:
        raise Held("this mail was taken back while it was prepared")
    if rows[0]["is_prepared"]:
        return False
    traits = prepared.traits
    size_bytes = len(prepared.content)
    shape = (size_bytes, traits.has_8bit, traits.has_utf8_headers, traits.longest_line)
    yield Query(COMPLETE, (delivery.pk, True, *shape))
    yield from contents.replace(delivery.pk, prepared.content)
    yield Each(SET_FILE, [done_row(delivery.pk, done) for done in prepared.done])
    yield from note_taken_out(delivery.pk, prepared.taken_out)
    return True


def note_taken_out(pk: str, parts: Sequence[TakenOut]) -> Script[None]:
    """Tell of the parts that became links: some the client had given as files."""
    if not parts:
        return
    known: Sequence[Row] = yield Query(OF_MESSAGE, (pk,))
    inserted = [(row["n"], row["sha256"]) for row in known if row["state"] == "inserted"]
    next_n = max((row["n"] for row in known), default=-1) + 1
    for part in parts:
        given = next((each for each in inserted if each[1] == part.sha256), None)
        if given is not None:
            inserted.remove(given)
            yield Query(LINK_FILE, (pk, given[0], part.link, part.link_expires_at))
        else:
            yield Query(INSERT_TAKEN_OUT, taken_out_row(pk, next_n, part))
            next_n += 1


def done_row(pk: str, done: Done) -> tuple[Value, ...]:
    state = "inserted" if done.link is None else "linked"
    told = (done.size_bytes, done.sha256, done.link, done.link_expires_at)
    return pk, done.n, state, done.got, *told


def taken_out_row(pk: str, n: int, part: TakenOut) -> tuple[Value, ...]:
    told = (part.size_bytes, part.sha256, part.link, part.link_expires_at)
    return pk, n, part.filename, part.mime_type, *told


def view(row: Row) -> AttachmentView:
    return AttachmentView(
        row["n"],
        row["mode"],
        row["filename"],
        row["mime_type"],
        row["state"],
        row["got"],
        row["size_bytes"],
        row["sha256"],
        row["link"],
        row["link_expires_at"],
    )
