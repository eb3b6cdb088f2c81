"""What became of an attempt: recipient states, attempt, events and message in one transaction,
under the fence.

Results are written only for recipients that the node still holds: one that lost its lease has lost
its say, since another may have the mail by now. Mail that would wait for another attempt is
suspended instead where its tenant suspended its batch meanwhile.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from relay.model import FINAL_STATES, Delivery, Outcome, State
from relay.store.contents import DROP_ORPHANED_PARTS, DROP_PARTS, PART_BYTES
from relay.store.database import Each, Query, Script, Together, Value
from relay.store.queue.certified import Wait, await_receipts
from relay.store.queue.fence import must_live
from relay.store.queue.gates import Gate, read_gates
from relay.value import frozen

# These rows are the fence: who takes them from a dead node waits for this, or has taken them.
HELD = """
SELECT r.message_pk, r.n, m.open_recipients FROM recipients r JOIN messages m ON m.pk = r.message_pk
WHERE +r.owner = $1 AND r.state = 'sending' AND r.message_pk {among:$2} {for_update}
"""
# Of those that are held: found by their key alone, whatever else stands in the table.
SETTLE = """
UPDATE recipients SET state = $3, due_at = $4, attempts = $5, unknowns = $6, account_id = $7,
    code = $8, reply = $9,
    tried_at = $10, final_at = $11, faults = $12, owner = NULL, claim = NULL, begun_at = NULL
{from:TEXT, BIGINT, TEXT, DOUBLE PRECISION, BIGINT, BIGINT, TEXT, BIGINT, TEXT,
    DOUBLE PRECISION, DOUBLE PRECISION, BIGINT}
WHERE message_pk = $1 AND n = $2
"""
RELEASE = """
UPDATE recipients SET state = $4, due_at = $5, faults = $6, owner = NULL, claim = NULL,
    begun_at = NULL
WHERE message_pk = $1 AND n = $2 AND owner = $3 AND state = 'sending'
"""
INSERT_ATTEMPT = """
INSERT INTO attempts (message_pk, seq, tenant_id, account_id, epoch, started_at, ended_at, outcomes)
{rows:TEXT, BIGINT, TEXT, TEXT, BIGINT, DOUBLE PRECISION, DOUBLE PRECISION, TEXT}
"""
INSERT_EVENT = """
INSERT INTO events (message_pk, seq, tenant_id, n, kind, at, data, report)
{rows:TEXT, BIGINT, TEXT, BIGINT, TEXT, DOUBLE PRECISION, TEXT, TEXT}
"""
FINISH = """
UPDATE messages SET open_recipients = open_recipients - $2, updated_at = $3,
    final_at = CASE WHEN open_recipients = CAST($2 AS BIGINT) THEN CAST($3 AS DOUBLE PRECISION) END
{from:TEXT, BIGINT, DOUBLE PRECISION}
WHERE pk = $1
"""
DROP_SETTLED = "DELETE FROM contents {using:TEXT} WHERE message_pk = $1"
DROP_CONTENT = """
DELETE FROM contents WHERE message_pk = $1
    AND EXISTS (SELECT 1 FROM messages WHERE pk = $1 AND final_at IS NOT NULL)
"""


def drop_content(pk: str) -> Script[None]:
    """Drop the bytes of a message, all of them, if it is final."""
    yield Query(DROP_CONTENT, (pk,))
    yield Query(DROP_ORPHANED_PARTS, (pk,))


Gates = Mapping[str, Gate]


@frozen
class Resolution:
    """What is to be done with one recipient after an attempt; `due_at` says when it is tried again.

    `is_suspended`: it waits for its tenant first. `status` is the RFC 3463 code where no upstream
    gave one. `faults` counts the attempts in a row that ended by a fault of our own.
    """

    n: int
    state: State
    attempts: int
    unknowns: int
    due_at: float
    code: int = 0
    reply: str = ""
    is_suspended: bool = False
    status: str | None = None
    faults: int = 0

    @property
    def stored_state(self) -> State:
        return State.SUSPENDED if self.is_suspended else self.state


@frozen
class Settlement:
    """The end of an attempt. `outcomes` is empty where none was made (the mail expired, or its
    limit rejects it).

    `is_pec`: the account is one of certified mail, of which receipts are awaited.
    `reports` says whether its tenant wants delivery reports, `keeps_content` whether delivered
    bytes stay. `remote` is the name of the upstream's host. `is_bare`: no sender is told of it.
    """

    delivery: Delivery
    account_id: str
    started_at: float
    ended_at: float
    outcomes: tuple[Outcome, ...]
    resolutions: tuple[Resolution, ...]
    reports: bool = False
    keeps_content: bool = False
    is_pec: bool = False
    remote: str | None = None
    is_bare: bool = False

    def by_clock(self, now: float) -> "Settlement":
        """Return a result of the future as of now, since the clock was set back after it was
        decided: what is to be tried again waits as long as it was to.
        """
        ahead_s = self.ended_at - now
        if ahead_s <= 0:
            return self
        resolutions = tuple(replace(r, due_at=r.due_at - ahead_s) for r in self.resolutions)
        started_at = self.started_at - ahead_s
        return replace(self, started_at=started_at, ended_at=now, resolutions=resolutions)

    @property
    def may_be_told(self) -> bool:
        """Whether its sender may have to hear of it; of most mail there is nothing to tell."""
        if self.is_bare or self.delivery.sender == "":
            return False
        is_failed = State.FAILED in [r.state for r in self.resolutions]
        return is_failed or True in [o.is_untold for o in self.outcomes]

    @property
    def bare(self) -> "Settlement":
        """What must be written of it, and nothing that could be in the way of that."""
        reply = "what was said of this could not be stored"
        told = tuple(replace(r, code=0, reply=reply) for r in self.resolutions)
        return replace(self, outcomes=(), resolutions=told, is_pec=False, is_bare=True)


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail `pk` was queued in this lane that tells the sender of the mail `about` what became of
    so many recipients.
    """

    pk: str
    about: str
    tenant_id: str
    lane: str
    recipients: int


Notify = Callable[[Sequence[Settlement], Gates], Script[list[Notice]]]


def notify_nobody(_items: Sequence[Settlement], _gates: Gates) -> Script[list[Notice]]:
    return []
    yield


@dataclass(frozen=True, slots=True)
class Release:
    """Give a lease back without an attempt: due again at `due_at`, or at once when that is past."""

    delivery: Delivery
    due_at: float
    state: State = State.QUEUED


def settle(
    items: Sequence[Settlement | Release],
    epoch: int,
    first_seq: int,
    notify: Notify = notify_nobody,
) -> Script[list[Notice | None]]:
    """Write what became of each, and what `notify` tells the senders; answer with what was queued.

    Raises Fenced, and writes nothing, when the node's lease is lost. Events and attempts are
    numbered from `first_seq`; `seqs_needed` says how many numbers it takes.
    """
    gates = yield from read_gates_of(items)
    releases = [item for item in items if isinstance(item, Release)]
    settlements = [gated(item, gates) for item in items if isinstance(item, Settlement)]
    held = yield from read_held(settlements, epoch)
    if releases or not all(map(held.has, settlements)):
        yield from must_live(epoch)
        settlements = [part for item in settlements if (part := held.part_of(item))]
    # Before its content goes.
    told = [item for item in settlements if item.may_be_told]
    notices = (yield from notify(told, gates)) if told else []
    if releases:
        yield Each(RELEASE, [row for item in releases for row in release_rows(item, epoch, gates)])
    if settlements:
        yield from settle_attempts(settlements, held, epoch, count(first_seq))
    by_pk = {notice.about: notice for notice in notices}
    return [by_pk.pop(item.delivery.pk, None) for item in items]


@dataclass(frozen=True, slots=True)
class Held:
    """The recipients that this node still holds, and how many of each message are not final.

    What is not held was written already, by a commit whose answer was lost, or taken back.
    """

    places: Collection[tuple[str, int]]
    open_recipients: Mapping[str, int]

    def has(self, item: Settlement) -> bool:
        pk = item.delivery.pk
        return all((pk, r.n) in self.places for r in item.resolutions)

    def part_of(self, item: Settlement) -> Settlement | None:
        """Return what is held of it; None where nothing is."""
        pk = item.delivery.pk
        resolutions = tuple(r for r in item.resolutions if (pk, r.n) in self.places)
        return replace(item, resolutions=resolutions) if resolutions else None


def read_held(items: Sequence[Settlement], epoch: int) -> Script[Held]:
    pks = sorted({item.delivery.pk for item in items})
    rows = (yield Query(HELD, (epoch, pks))) if pks else ()
    places = {(row["message_pk"], row["n"]) for row in rows}
    return Held(places, {row["message_pk"]: row["open_recipients"] for row in rows})


def read_gates_of(items: Sequence[Settlement | Release]) -> Script[Gates]:
    """Read the gates of mail that would go on waiting, or is told of; most has ended well and needs
    none.
    """
    tenant_ids = {item.delivery.tenant_id for item in items if goes_on(item) or may_be_told(item)}
    if not tenant_ids:
        return {}
    return (yield from read_gates(tenant_ids))


def may_be_told(item: Settlement | Release) -> bool:
    return isinstance(item, Settlement) and item.may_be_told


def goes_on(item: Settlement | Release) -> bool:
    return isinstance(item, Release) or final_count(item) < len(item.resolutions)


def gated(item: Settlement, gates: Gates) -> Settlement:
    if not (is_held(item.delivery, gates) and goes_on(item)):
        return item
    resolutions = tuple(
        r if r.state in FINAL_STATES else replace(r, is_suspended=True) for r in item.resolutions
    )
    return replace(item, resolutions=resolutions)


def is_held(delivery: Delivery, gates: Gates) -> bool:
    gate = gates.get(delivery.tenant_id)
    return gate is not None and gate.holds(delivery.batch_code)


def settle_attempts(
    items: Sequence[Settlement], held: Held, epoch: int, seqs: Iterator[int]
) -> Script[None]:
    ended = ended_rows(items)
    over = {pk for pk, recipients, _at in ended if recipients == held.open_recipients[pk]}
    dropped = [i.delivery for i in items if i.delivery.pk in over and not i.keeps_content]
    attempts = [attempt_row(item, epoch, next(seqs)) for item in items if item.outcomes]
    yield Together(
        (
            Each(SETTLE, [row for item in items for row in settle_rows(item)]),
            Each(INSERT_ATTEMPT, attempts),
            Each(INSERT_EVENT, [row for item in items for row in event_rows(item, seqs)]),
            Each(FINISH, ended),
            Each(DROP_SETTLED, [(delivery.pk,) for delivery in dropped]),
        )
    )
    waits = [wait for item in items if item.is_pec for wait in waits_of(item)]
    if waits:
        yield from await_receipts(waits)
    in_parts = [(delivery.pk,) for delivery in dropped if delivery.size_bytes > PART_BYTES]
    if in_parts:
        yield Each(DROP_PARTS, in_parts)


def ended_rows(items: Sequence[Settlement]) -> list[tuple[str, int, float]]:
    """Return how many recipients of each message have ended, and when the last of them."""
    rows: dict[str, tuple[str, int, float]] = {}
    for item in items:
        pk, recipients = item.delivery.pk, final_count(item)
        if recipients:
            _, before, last_at = rows.get(pk, (pk, 0, item.ended_at))
            rows[pk] = (pk, before + recipients, max(last_at, item.ended_at))
    return list(rows.values())


def waits_of(item: Settlement) -> list[Wait]:
    delivery = item.delivery
    return [
        (delivery.pk, r.n, delivery.tenant_id, item.account_id, item.ended_at)
        for r in item.resolutions
        if r.state is State.SENT
    ]


def seqs_needed(items: Sequence[Settlement | Release]) -> int:
    return sum(len(item.resolutions) + 1 for item in items if isinstance(item, Settlement))


def final_count(item: Settlement) -> int:
    return len([r for r in item.resolutions if r.state in FINAL_STATES])


def release_rows(item: Release, epoch: int, gates: Gates) -> list[tuple[Value, ...]]:
    pk = item.delivery.pk
    state = State.SUSPENDED if is_held(item.delivery, gates) else item.state
    return [(pk, p.n, epoch, state.value, item.due_at, p.faults) for p in item.delivery.pending]


def settle_rows(item: Settlement) -> list[tuple[Value, ...]]:
    return [
        (
            item.delivery.pk,
            r.n,
            r.stored_state.value,
            r.due_at,
            r.attempts,
            r.unknowns,
            item.account_id,
            r.code,
            r.reply,
            item.ended_at,
            item.ended_at if r.state in FINAL_STATES else None,
            r.faults,
        )
        for r in item.resolutions
    ]


def attempt_row(item: Settlement, epoch: int, seq: int) -> tuple[Value, ...]:
    outcomes = [
        {"n": o.n, "verdict": o.verdict.value, "code": o.code, "reply": o.reply, "phase": o.phase}
        for o in item.outcomes
    ]
    return (
        item.delivery.pk,
        seq,
        item.delivery.tenant_id,
        item.account_id,
        epoch,
        item.started_at,
        item.ended_at,
        json.dumps(outcomes),
    )


def event_rows(item: Settlement, seqs: Iterator[int]) -> list[tuple[Value, ...]]:
    addresses = {p.n: p.address for p in item.delivery.pending}
    report = "waiting" if item.reports else "none"
    return [
        (
            item.delivery.pk,
            next(seqs),
            item.delivery.tenant_id,
            r.n,
            r.state.value,
            item.ended_at,
            json.dumps(event_data(item, r, addresses[r.n])),
            report,
        )
        for r in item.resolutions
    ]


def event_data(item: Settlement, resolution: Resolution, address: str) -> dict[str, object]:
    data: dict[str, object] = {
        "recipient": address,
        "account_id": item.account_id,
        "code": resolution.code,
        "reply": resolution.reply,
        "attempts": resolution.attempts,
    }
    if resolution.state is State.DEFERRED:
        data["next_attempt_ts"] = resolution.due_at
    if resolution.unknowns:
        data["possible_duplicate"] = True
    return data
