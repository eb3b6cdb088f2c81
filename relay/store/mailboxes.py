"""The mailboxes that mail comes back to: which there are, who reads each, and how far.

Promises: one node at a time reads a mailbox (a lease under the node's epoch, which ends with the
node); what a mail does and that it was read are one transaction under that fence, so a mail acts
once, whatever crashes; a mail that was acted on is known again by its digest when the server counts
its mails anew (UIDVALIDITY, RFC 3501 §2.3.1.1).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Generic, TypeVar

from relay.crypto import digest
from relay.errors import Fenced
from relay.store.accounts import AccountStore
from relay.store.database import Database, Each, Query, Row, Script
from relay.store.instance import InstanceStore
from relay.store.mailbox import INSTANCE, Key, Mailbox, mailbox_of_account, mailbox_of_instance
from relay.store.queue.fence import NODE_LIVES, must_live

T = TypeVar("T")

MARKS_AT_ONCE = 200

SEATS = """
SELECT a.tenant_id, a.id, a.version, COALESCE(m.due_at, 0) AS due_at
FROM accounts a LEFT JOIN mailboxes m ON m.tenant_id = a.tenant_id AND m.account_id = a.id
WHERE a.imap_host IS NOT NULL AND (m.owner IS NULL OR m.owner = $1
    OR NOT EXISTS (SELECT 1 FROM nodes WHERE epoch = m.owner))
ORDER BY COALESCE(m.due_at, 0)
"""
INSTANCE_SEAT = """
SELECT due_at, COALESCE(owner, $1) <> $1
    AND EXISTS (SELECT 1 FROM nodes WHERE epoch = mailboxes.owner) AS is_taken
FROM mailboxes WHERE tenant_id = '' AND account_id = ''
"""
MAKE_DUE = "UPDATE mailboxes SET due_at = 0"

ENTER = """
INSERT INTO mailboxes (tenant_id, account_id, source, last_uid, due_at, failures)
VALUES ($1, $2, $3, 0, 0, 0) ON CONFLICT (tenant_id, account_id) DO NOTHING
"""
LOCK = "SELECT * FROM mailboxes WHERE tenant_id = $1 AND account_id = $2 {skip_locked}"
OWN = "UPDATE mailboxes SET owner = $3 WHERE tenant_id = $1 AND account_id = $2"
BEGIN_ANEW = """
UPDATE mailboxes SET source = $3, uid_validity = NULL, last_uid = 0
WHERE tenant_id = $1 AND account_id = $2
"""
OWNER = "SELECT owner FROM mailboxes WHERE tenant_id = $1 AND account_id = $2 {for_update}"
COUNT_FROM = """
UPDATE mailboxes SET uid_validity = $3, last_uid = 0 WHERE tenant_id = $1 AND account_id = $2
"""
ADVANCE = """
UPDATE mailboxes SET last_uid = $3 WHERE tenant_id = $1 AND account_id = $2 AND last_uid < $3
"""
LOOKED = """
UPDATE mailboxes SET looked_at = $3, failures = 0, failing_since = NULL, error = NULL
WHERE tenant_id = $1 AND account_id = $2
"""
CONCLUDE = """
UPDATE mailboxes SET owner = NULL, due_at = $3, failures = $4, failing_since = $5, error = $6
WHERE tenant_id = $1 AND account_id = $2
"""

KNOWN = """
SELECT digest FROM mailbox_mails WHERE tenant_id = $1 AND account_id = $2 AND digest = $3
"""
REMEMBER = """
INSERT INTO mailbox_mails (tenant_id, account_id, digest, uid_validity, uid, is_readable, is_marked,
    seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, account_id, digest) DO UPDATE SET uid_validity = $4, uid = $5,
    is_marked = $7, seen_at = $8
"""
UNMARKED = """
SELECT digest, uid, is_readable FROM mailbox_mails
WHERE tenant_id = $1 AND account_id = $2 AND NOT is_marked AND uid_validity = $3
ORDER BY uid LIMIT $4
"""
MARKED = """
UPDATE mailbox_mails SET is_marked = $4 WHERE tenant_id = $1 AND account_id = $2 AND digest = $3
"""

STANDING = "SELECT * FROM mailboxes WHERE tenant_id = $1 AND account_id = $2"

TROUBLED = """
SELECT m.* FROM mailboxes m LEFT JOIN accounts a ON a.tenant_id = m.tenant_id
    AND a.id = m.account_id
WHERE m.failures > 0 AND (m.account_id = '' OR a.imap_host IS NOT NULL)
ORDER BY m.tenant_id, m.account_id LIMIT 1000
"""
FORGET_MAILS = "DELETE FROM mailbox_mails WHERE seen_at < $1"
FORGET_ABANDONED = """
DELETE FROM mailboxes WHERE account_id <> '' AND COALESCE(looked_at, 0) < $1 AND NOT EXISTS (
    SELECT 1 FROM accounts a
    WHERE a.tenant_id = mailboxes.tenant_id AND a.id = mailboxes.account_id)
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """A mailbox that this node reads or may read. `version` is another after each change of its
    settings.
    """

    key: Key
    version: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to read one mailbox, and how far it was read before."""

    key: Key
    epoch: int
    uid_validity: int | None
    last_uid: int
    failures: int
    failing_since: float | None


@dataclass(frozen=True, slots=True)
class Met:
    """A mail that was acted on or could not be read. `is_marked` where the mailbox needs not show
    it.
    """

    uid_validity: int
    uid: int
    digest: str
    is_readable: bool
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a mail did. `is_ours`: it was about mail of ours, so it is remembered, and its mailbox
    may show that.
    """

    result: T
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a turn ends: when the mailbox is looked at again, and what was wrong."""

    due_at: float
    failures: int = 0
    failing_since: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    key: Key
    looked_at: float | None
    failures: int
    failing_since: float | None
    error: str | None
    due_at: float


class MailboxStore:
    def __init__(self, database: Database, accounts: AccountStore, instance: InstanceStore) -> None:
        self._database = database
        self._accounts = accounts
        self._instance = instance

    async def seats(self, epoch: int) -> list[Seat]:
        """Return what this node reads or may read, that which is due first in front."""
        rows = await self._database.fetch(SEATS, epoch)
        seats = [Seat((r["tenant_id"], r["id"]), str(r["version"]), r["due_at"]) for r in rows]
        return [*await self._instance_seat(epoch), *seats]

    async def open(self, key: Key, poll_s: float) -> Mailbox | None:
        """Read the settings of a mailbox; None when it is not to be read. `poll_s` is for those of
        accounts.
        """
        if key == INSTANCE:
            return mailbox_of_instance((await self._instance.read()).bounce)
        account = await self._accounts.find(*key)
        return None if account is None else mailbox_of_account(account, poll_s)

    async def make_due(self) -> None:
        """Have every mailbox looked at, whatever was wrong with it, by every node."""

        def script() -> Script[None]:
            yield Query(MAKE_DUE)

        await self._database.write(script)
        await self._database.signal("mailboxes", "")

    async def take(self, mailbox: Mailbox, epoch: int) -> Turn | None:
        """Begin to read a mailbox, unless another node does. Raises Fenced."""
        return await self._database.write(partial(take, mailbox.key, mailbox.source, epoch))

    async def count_from(self, turn: Turn, uid_validity: int) -> Turn:
        """Read from the start: the server counts its mails anew. Raises Fenced."""
        return await self._database.write(partial(count_from, turn, uid_validity))

    async def act(
        self, turn: Turn, met: Met, effect: Callable[[], Script[Done[T]]]
    ) -> Done[T] | None:
        """Do what a mail asks and pass it, as one; None when it was done before. Raises Fenced,
        DataRejected.
        """
        now = self._database.now()
        return await self._database.write(partial(act, turn, met, effect, now))

    async def put_aside(self, turn: Turn, met: Met) -> None:
        """Pass a mail that cannot be read. Raises Fenced."""
        now = self._database.now()
        await self._database.write(partial(put_aside, turn, met, now))

    async def advance(self, turn: Turn, uid: int) -> None:
        """Pass the mails up to this one. Raises Fenced."""
        await self._database.write(partial(advance, turn, uid))

    async def unmarked(self, turn: Turn, uid_validity: int) -> list[Met]:
        """Return mails that the mailbox is to show as acted on, or as unreadable, and does not."""
        rows = await self._database.fetch(UNMARKED, *turn.key, uid_validity, MARKS_AT_ONCE)
        return [
            Met(uid_validity, r["uid"], r["digest"], bool(r["is_readable"]), False) for r in rows
        ]

    async def marked(self, turn: Turn, mails: Sequence[Met]) -> None:
        rows = [(*turn.key, met.digest, True) for met in mails]

        def script() -> Script[None]:
            yield Each(MARKED, rows)

        await self._database.write(script)

    async def looked(self, turn: Turn) -> None:
        """Say that the mailbox answers. Raises Fenced."""
        now = self._database.now()
        await self._database.write(partial(looked, turn, now))

    async def conclude(self, turn: Turn, conclusion: Conclusion) -> None:
        """End a turn. Raises Fenced."""
        await self._database.write(partial(conclude, turn, conclusion))

    async def standing(self, key: Key) -> Standing | None:
        """Say how reading a mailbox goes; None when nobody looked yet."""
        rows = await self._database.fetch(STANDING, *key)
        return standing(rows[0]) if rows else None

    async def troubled(self) -> list[Standing]:
        """Return the mailboxes that cannot be read, at most 1000."""
        is_read = mailbox_of_instance((await self._instance.read()).bounce) is not None
        rows = await self._database.fetch(TROUBLED)
        return [s for s in map(standing, rows) if s.key != INSTANCE or is_read]

    async def _instance_seat(self, epoch: int) -> list[Seat]:
        bounce = (await self._instance.read()).bounce
        if mailbox_of_instance(bounce) is None:
            return []
        version = digest(repr(sorted(asdict(bounce).items())))
        rows = await self._database.fetch(INSTANCE_SEAT, epoch)
        if not rows:
            return [Seat(INSTANCE, version, 0.0)]
        return [] if rows[0]["is_taken"] else [Seat(INSTANCE, version, rows[0]["due_at"])]


def take(key: Key, source: str, epoch: int) -> Script[Turn | None]:
    yield from must_live(epoch)
    yield Query(ENTER, (*key, source))
    rows = yield Query(LOCK, key)
    if not rows:
        return None
    row = rows[0]
    if row["owner"] not in (None, epoch) and (yield Query(NODE_LIVES, (row["owner"],))):
        return None
    yield Query(OWN, (*key, epoch))
    is_same = row["source"] == source
    if not is_same:
        yield Query(BEGIN_ANEW, (*key, source))
    return Turn(
        key=key,
        epoch=epoch,
        uid_validity=row["uid_validity"] if is_same else None,
        last_uid=row["last_uid"] if is_same else 0,
        failures=row["failures"],
        failing_since=row["failing_since"],
    )


def count_from(turn: Turn, uid_validity: int) -> Script[Turn]:
    yield from must_own(turn)
    yield Query(COUNT_FROM, (*turn.key, uid_validity))
    return Turn(turn.key, turn.epoch, uid_validity, 0, turn.failures, turn.failing_since)


def act(
    turn: Turn, met: Met, effect: Callable[[], Script[Done[T]]], now: float
) -> Script[Done[T] | None]:
    yield from must_own(turn)
    is_known = yield Query(KNOWN, (*turn.key, met.digest))
    done = None if is_known else (yield from effect())
    if done is None or done.is_ours:
        yield from remember(turn, met, now)
    yield Query(ADVANCE, (*turn.key, met.uid))
    return done


def put_aside(turn: Turn, met: Met, now: float) -> Script[None]:
    yield from must_own(turn)
    yield from remember(turn, met, now)
    yield Query(ADVANCE, (*turn.key, met.uid))


def remember(turn: Turn, met: Met, now: float) -> Script[None]:
    values = (met.uid_validity, met.uid, met.is_readable, met.is_marked, now)
    yield Query(REMEMBER, (*turn.key, met.digest, *values))


def advance(turn: Turn, uid: int) -> Script[None]:
    yield from must_own(turn)
    yield Query(ADVANCE, (*turn.key, uid))


def looked(turn: Turn, now: float) -> Script[None]:
    yield from must_own(turn)
    yield Query(LOOKED, (*turn.key, now))


def conclude(turn: Turn, conclusion: Conclusion) -> Script[None]:
    yield from must_own(turn)
    values = (
        conclusion.due_at,
        conclusion.failures,
        conclusion.failing_since,
        conclusion.error,
    )
    yield Query(CONCLUDE, (*turn.key, *values))


def forget(before: float) -> Script[None]:
    """Forget mails met before, and how far the mailboxes were read that no account has any more."""
    yield Query(FORGET_MAILS, (before,))
    yield Query(FORGET_ABANDONED, (before,))


def must_own(turn: Turn) -> Script[None]:
    yield from must_live(turn.epoch)
    rows = yield Query(OWNER, turn.key)
    if not rows or rows[0]["owner"] != turn.epoch:
        raise Fenced(f"the mailbox of {'/'.join(turn.key)} is no longer this node's")


def standing(row: Row) -> Standing:
    return Standing(
        key=(row["tenant_id"], row["account_id"]),
        looked_at=row["looked_at"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        error=row["error"],
        due_at=row["due_at"],
    )
