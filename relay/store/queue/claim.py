"""A mail goes to a node: a lease under the node's epoch, taken from the small index of due
recipients.

A claim takes recipients in the order of the index: priority, then age. A message that a claim would
cut is taken whole, so that all its recipients go in one transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from relay.errors import Damaged, Held
from relay.model import Account, ContentTraits, Delivery, Ingress, OnUnknown, Pending
from relay.store.database import Query, Row, Script
from relay.store.limits import reserve
from relay.store.queue.aside import Desk, readable
from relay.store.queue.fence import must_live

V = TypeVar("V", str, int, float, bytes)

# What stands in a text for bytes that are no UTF-8.
UNREADABLE = "\ufffd"

NO_BODIES: Mapping[str, Row] = MappingProxyType({})

# A body up to this size comes with the claim; a larger one is fetched when its turn comes.
INLINE_BYTES = 262_144

# A claim is a lease: a node that dies lets it run out, and the mail is due again.
CLAIM = """
WITH due AS MATERIALIZED (
    SELECT message_pk AS pk, n AS place FROM recipients WHERE lane = $1 AND state = 'queued'
    ORDER BY lane, priority, message_pk, n LIMIT $2 {skip_locked})
UPDATE recipients SET state = 'sending', owner = $3, claim = $4
FROM due WHERE message_pk = pk AND n = place
RETURNING message_pk
"""
CLAIM_REST = """
WITH due AS MATERIALIZED (
    SELECT message_pk AS pk, n AS place FROM recipients
    WHERE lane = $1 AND priority = $5 AND message_pk = $2 AND state = 'queued' {skip_locked})
UPDATE recipients SET state = 'sending', owner = $3, claim = $4
FROM due WHERE message_pk = pk AND n = place
"""
CLAIMED = """
SELECT r.message_pk, r.n, r.address, r.attempts, r.unknowns, r.faults, r.notify, r.orcpt, r.lane,
    r.priority, r.owner,
    m.tenant_id, m.id, m.account_id, m.sender, m.ret, m.envid, m.has_8bit, m.has_utf8_headers,
    m.longest_line,
    m.size_bytes, m.on_unknown, m.max_attempts, m.expires_at, m.accepted_at, m.batch_code,
    m.metadata, m.keeps_sender, m.is_prepared, m.ingress
FROM recipients r JOIN messages m ON m.pk = r.message_pk
WHERE r.owner = $1 AND r.claim = $2 AND r.state = 'sending'
ORDER BY r.priority, r.message_pk, r.n
"""
# Apart from the recipients: with each of a thousand it would come a thousand times.
BODIES = """
SELECT c.message_pk, c.body FROM contents c JOIN messages m ON m.pk = c.message_pk
WHERE c.message_pk {among:$1} AND m.size_bytes <= $2
"""
GIVE_UP = """
UPDATE recipients SET state = 'queued', owner = NULL, claim = NULL, begun_at = NULL
WHERE state = 'sending' AND owner = $1 AND claim = $2 RETURNING lane
"""
# What a command took away since the claim is not in the answer.
BEGIN = """
UPDATE recipients SET begun_at = $1
WHERE +owner = $2 AND state = 'sending' AND message_pk {among:$3}
    AND message_pk || '/' || n {among:$4}
RETURNING message_pk, n
"""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Ask for up to `most` recipients of a lane; `claim` is a number that the node has not used
    before.
    """

    lane: str
    most: int
    claim: int


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """Say durably that an upstream is about to be offered these recipients, and take their place in
    its limits.
    """

    pk: str
    ns: tuple[int, ...]
    account: Account


def claim(requests: Sequence[ClaimRequest], desk: Desk) -> Script[list[list[Delivery]]]:
    """Lease what is due in each lane; an empty list where nothing was. Raises Fenced when the
    node's lease is lost.
    """
    epoch = desk.epoch
    yield from must_live(epoch)
    answers: list[list[Delivery]] = []
    for request in requests:
        rows = yield Query(CLAIM, (request.lane, request.most, epoch, request.claim))
        if not rows:
            answers.append([])
            continue
        leased = yield Query(CLAIMED, (epoch, request.claim))
        if len(rows) == request.most:
            last = leased[-1]
            rest = (request.lane, last["message_pk"], epoch, request.claim, last["priority"])
            yield Query(CLAIM_REST, rest)
            leased = yield Query(CLAIMED, (epoch, request.claim))
        bodies = yield from read_bodies(leased)
        answers.append((yield from deliveries(leased, desk, bodies)))
    return answers


def give_up(epoch: int, claims: Sequence[int]) -> Script[list[str]]:
    """Make due again what these claims hold, none of which came to the dispatcher, also where it
    was stored as begun; return its lanes.
    """
    lanes: list[str] = []
    for number in claims:
        lanes += [row["lane"] for row in (yield Query(GIVE_UP, (epoch, number)))]
    return lanes


def read_bodies(leased: Sequence[Row]) -> Script[Mapping[str, Row]]:
    """Return the content, by message, of those that are not too big to come with their claim."""
    pks = sorted({row["message_pk"] for row in leased})
    rows = yield Query(BODIES, (pks, INLINE_BYTES))
    return {row["message_pk"]: row for row in rows}


def deliveries(
    rows: Sequence[Row], desk: Desk, bodies: Mapping[str, Row] = NO_BODIES
) -> Script[list[Delivery]]:
    """Gather the rows of each message (they stand together) into one delivery."""
    return (yield from readable(rows, partial(delivery, bodies), desk))


def delivery(bodies: Mapping[str, Row], rows: Sequence[Row]) -> Delivery:
    """Read one leased message. Raises Damaged, ValueError: what comes after meets no wrong type."""
    first = rows[0]
    pk = text(first, "message_pk")
    body = bodies.get(pk)
    return Delivery(
        epoch=first["owner"],
        pk=pk,
        id=required(first, "id", str),
        tenant_id=text(first, "tenant_id"),
        account_id=optional(first, "account_id", str),
        lane=text(first, "lane"),
        priority=whole(first, "priority"),
        sender=text(first, "sender"),
        pending=tuple(pending(row) for row in rows),
        traits=ContentTraits(
            bool(first["has_8bit"]),
            bool(first["has_utf8_headers"]),
            whole(first, "longest_line"),
        ),
        size_bytes=whole(first, "size_bytes"),
        accepted_at=required(first, "accepted_at", float),
        ret=optional(first, "ret", str),
        envid=optional(first, "envid", str),
        expires_at=optional(first, "expires_at", float),
        max_attempts=optional(first, "max_attempts", int),
        on_unknown=OnUnknown(first["on_unknown"]),
        batch_code=optional(first, "batch_code", str),
        metadata=optional(first, "metadata", str),
        keeps_sender=bool(first["keeps_sender"]),
        is_prepared=bool(first["is_prepared"]),
        content=None if body is None else optional(body, "body", bytes),
        ingress=Ingress(first["ingress"]),
    )


def pending(row: Row) -> Pending:
    return Pending(
        whole(row, "n"),
        text(row, "address"),
        whole(row, "attempts"),
        whole(row, "unknowns"),
        optional(row, "notify", str),
        optional(row, "orcpt", str),
        whole(row, "faults"),
    )


def text(row: Row, name: str) -> str:
    """Return a text of which every character is as it was stored."""
    value = required(row, name, str)
    if UNREADABLE in value:
        raise Damaged(f"{name} is damaged")
    return value


def whole(row: Row, name: str) -> int:
    return required(row, name, int)


def optional(row: Row, name: str, kind: type[V]) -> V | None:
    return None if row[name] is None else required(row, name, kind)


def required(row: Row, name: str, kind: type[V]) -> V:
    # SQLite keeps whatever is put into a column.
    value = row[name]
    if not isinstance(value, kind):
        raise Damaged(f"{name} is damaged")
    return value


def begin(
    requests: Sequence[BeginRequest], epoch: int, clock: Callable[[], float]
) -> Script[list[float | Held | None]]:
    """Mark what is about to be offered. The answer is None, or when its account has room again
    (Unix seconds), or Held where a command took the mail back since it was claimed.

    After a crash only what was marked may have reached an upstream. Raises Fenced when the node's
    lease is lost.
    """
    # Nodes lock the accounts in one order, or two of them could wait for each other.
    order = sorted(range(len(requests)), key=lambda i: requests[i].account.key)
    answers: list[float | Held | None] = [None] * len(requests)
    for i in order:
        if requests[i].account.is_limited:
            answers[i] = yield from reserve(requests[i].account, clock)
    free = [i for i, answer in enumerate(answers) if answer is None]
    marked = yield from mark([requests[i] for i in free], epoch, clock())
    lost = [i for i in free if not marked.issuperset(places_of(requests[i]))]
    if lost:
        # What is marked is this node's until this commits; what is not may be another's by now.
        yield from must_live(epoch)
    for i in lost:
        answers[i] = Held("this mail was taken back before it was begun")
    return answers


def places_of(request: BeginRequest) -> list[tuple[str, int]]:
    return [(request.pk, n) for n in request.ns]


def mark(requests: Sequence[BeginRequest], epoch: int, now: float) -> Script[set[tuple[str, int]]]:
    """Mark recipients as begun; return those that still were this node's."""
    if not requests:
        return set()
    places = [f"{request.pk}/{n}" for request in requests for n in request.ns]
    pks = sorted({request.pk for request in requests})
    rows = yield Query(BEGIN, (now, epoch, pks, places))
    return {(row["message_pk"], row["n"]) for row in rows}
