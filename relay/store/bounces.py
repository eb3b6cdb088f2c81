"""What a mail that came back does: the mail that it speaks of is found, its recipient is `bounced`,
the event goes to the outbox, and the address of a hard bounce is not written to any more.

Promises: all of it is one transaction, which the caller makes one with the progress of its mailbox;
a bounce that tells nothing new changes nothing; it touches only messages of the tenant whose
mailbox it came to (in the instance's own: of any), and there only recipients that the message has.

The mail is found by its signed return address. Only where there is none do the ids of the returned
header count, in order: our pk, the Message-ID, the client's id. A return address that has a token
which we did not make spoils the whole bounce.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

from relay import maillog
from relay.formats import verp
from relay.formats.address import folded
from relay.formats.bounce.model import Clues, Kind, Returned
from relay.formats.verp import Forged, Reference
from relay.metrics import Metrics
from relay.model import State
from relay.store import suppressions
from relay.store.database import Database, Each, Query, Row, Script, Value
from relay.store.forwarded import forward
from relay.store.hits import GRAVITY, Effect, Hit, Place, hits, matters
from relay.store.queue.gates import read_gates
from relay.store.queue.notify import Postmaster
from relay.store.queue.settle import FINISH, INSERT_EVENT, Notice, drop_content
from relay.store.suppressions import Suppression

# Events of one bounce are numbered from `seq`: ask the spool for so many numbers.
MOST_EVENTS = 1000
# A stranger may write any number of ids into a mail.
MOST_IDS = 50

# Messages are locked in one order, or two bounces could wait for each other.
BY_PK = "SELECT pk, tenant_id FROM messages WHERE pk {among:$1}"
BY_CLIENT_ID = """
SELECT m.pk, m.tenant_id FROM tenants t JOIN messages m ON m.tenant_id = t.id
WHERE m.id {among:$1} LIMIT 100
"""
BY_MESSAGE_ID = """
SELECT pk, tenant_id FROM messages WHERE message_id {among:$1} ORDER BY pk DESC LIMIT 100
"""
PLACES = """
SELECT message_pk, n, address, state, attempts, unknowns, account_id, begun_at FROM recipients
WHERE message_pk {among:$1} ORDER BY message_pk, n {for_update}
"""
TENANT = "SELECT client_base_url, keep_content_days, suppression FROM tenants WHERE id = $1"
BOUNCE = """
UPDATE recipients SET state = 'bounced', bounced_at = $3, bounce_type = $4, bounce_code = $5,
    bounce_reason = $6, final_at = COALESCE(final_at, $3), owner = NULL, claim = NULL,
    begun_at = NULL
WHERE message_pk = $1 AND n = $2
"""
# What is final ends anew: it is kept from now on, until this too is reported.
TOUCH = """
UPDATE messages SET updated_at = $2,
    final_at = CASE WHEN final_at IS NOT NULL THEN CAST($2 AS DOUBLE PRECISION) END
WHERE pk = $1
"""
COMPLAINED = "SELECT n FROM events WHERE message_pk = $1 AND kind = 'complaint'"


@dataclass(frozen=True, slots=True)
class Source:
    """The mailbox that a bounce came to: a tenant's, or the instance's (None), where mail of every
    tenant comes back. `keys` are `Keyring.derived(verp.PURPOSE)`; without a `postmaster` no sender
    is told.
    """

    tenant_id: str | None
    keys: tuple[bytes, ...] = field(repr=False)
    postmaster: Postmaster | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a bounce: `verdict` is hard, soft, block or complaint where it changed
    something, else none (no bounce), duplicate, unmatched or forged.
    """

    verdict: str
    tenant_id: str = ""
    hits: tuple[Hit, ...] = ()
    has_suppressed: bool = False
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a bounce speaks of; `hits` are not empty."""

    pk: str
    tenant_id: str
    hits: tuple[Hit, ...]

    @property
    def changes(self) -> tuple[Hit, ...]:
        return tuple(hit for hit in self.hits if hit.effect is not Effect.NOTHING)


def record(returned: Returned, source: Source, now: float, seq: int) -> Script[Recorded]:
    """Write what a bounce says; events are numbered from `seq`. Tell of it with `announce` after
    the commit.
    """
    reference = verp.read(returned.clues.delivered_to, source.keys)
    if isinstance(reference, Forged):
        return Recorded("forged")
    if returned.kind is Kind.NONE and not returned.is_complaint:
        return Recorded("none")
    found = yield from find(returned, source, reference)
    if found is None:
        return Recorded("unmatched")
    changes = yield from new_only(found)
    if not changes:
        return Recorded("duplicate", found.tenant_id)
    tenant = (yield Query(TENANT, (found.tenant_id,)))[0]
    notices: Sequence[Notice] = ()
    if reference is not None and source.postmaster is not None:
        # Before its content goes.
        notices = yield from forward(found.pk, changes, source.postmaster, now)
    yield from write_bounces(found, changes, tenant, now)
    yield Each(INSERT_EVENT, event_rows(found, changes, tenant, now, count(seq)))
    has_suppressed = yield from suppress(found, changes, tenant, now)
    worst = max(changes, key=lambda hit: GRAVITY[hit.kind])
    return Recorded(worst.type, found.tenant_id, tuple(changes), has_suppressed, tuple(notices))


def find(returned: Returned, source: Source, reference: Reference | None) -> Script[Found | None]:
    """Return the message that a bounce speaks of; None where there is none, or it is not clear
    whose.
    """
    if reference is not None:
        return (yield from found_by(BY_PK, [reference.pk], returned, source, reference.n))
    for sql, ids in searches(returned.clues):
        found = (yield from found_by(sql, ids, returned, source)) if ids else None
        if found is not None:
            return found
    return None


def searches(clues: Clues) -> Iterator[tuple[str, list[str]]]:
    """Yield how to look for the message, the surest way first."""
    envelope_ids = [clues.envelope_id] if clues.envelope_id else []
    yield BY_PK, first_of([*clues.pillarbox_ids, *envelope_ids])
    yield BY_MESSAGE_ID, first_of([f"<{text.strip(' <>')}>" for text in clues.message_ids])
    yield BY_CLIENT_ID, first_of(clues.genro_ids)


def first_of(ids: Sequence[str]) -> list[str]:
    """Return the first few that can be ids at all."""
    fit = (text.strip() for text in ids if text.isprintable())
    return list(dict.fromkeys(fit))[:MOST_IDS]


def found_by(
    sql: str, ids: list[str], returned: Returned, source: Source, alone: int | None = None
) -> Script[Found | None]:
    rows: Sequence[Row] = yield Query(sql, (ids,))
    tenants = {
        row["pk"]: str(row["tenant_id"])
        for row in rows
        if source.tenant_id in (None, row["tenant_id"])
    }
    if not tenants:
        return None
    # Gates are locked before messages, and a notification to the sender passes one.
    yield from read_gates(set(tenants.values()))
    stored = yield Query(PLACES, (sorted(tenants),))
    found = [
        Found(pk, tenants[pk], told)
        for pk, group in groupby(map(place_of, stored), key=lambda place: place.message_pk)
        if (told := tuple(h for h in hits(returned, list(group), alone) if matters(h)))
    ]
    return chosen(found)


def chosen(found: Sequence[Found]) -> Found | None:
    """Choose the newest, of those that it is news for; none where several tenants' could be meant.

    One Message-ID may be that of a mail and of its repetition.
    """
    if len({item.tenant_id for item in found}) != 1:
        return None
    return max(found, key=lambda item: (bool(item.changes), item.pk))


def place_of(row: Row) -> Place:
    return Place(
        row["message_pk"],
        row["n"],
        row["address"],
        State(row["state"]),
        row["attempts"],
        row["account_id"],
        bool(row["unknowns"]) or row["begun_at"] is not None,
    )


def new_only(found: Found) -> Script[list[Hit]]:
    """Return what is not known yet: a complaint changes no state by which it would be seen."""
    changes = found.changes
    if not any(hit.is_complaint for hit in changes):
        return list(changes)
    known = {row["n"] for row in (yield Query(COMPLAINED, (found.pk,)))}
    return [hit for hit in changes if not (hit.is_complaint and hit.place.n in known)]


def write_bounces(found: Found, changes: Sequence[Hit], tenant: Row, now: float) -> Script[None]:
    bounced = [hit for hit in changes if hit.effect is Effect.BOUNCE]
    yield Each(
        BOUNCE,
        [(found.pk, h.place.n, now, h.kind.value, code_of(h), h.text) for h in bounced],
    )
    ended = sum(1 for hit in bounced if hit.place.state is not State.SENT)
    yield Query(TOUCH, (found.pk, now))
    if ended:
        yield Query(FINISH, (found.pk, ended, now))
        if not tenant["keep_content_days"]:
            yield from drop_content(found.pk)


def code_of(hit: Hit) -> str | None:
    return hit.status or (str(hit.code) if hit.code else None)


def event_rows(
    found: Found, changes: Sequence[Hit], tenant: Row, now: float, seqs: Iterator[int]
) -> list[tuple[Value, ...]]:
    """Clients are told of bounces; a complaint is kept with the message's history."""
    report = "none" if tenant["client_base_url"] is None else "waiting"
    return [
        (
            found.pk,
            next(seqs),
            found.tenant_id,
            hit.place.n,
            "complaint" if hit.is_complaint else State.BOUNCED.value,
            now,
            json.dumps(event_data(hit)),
            "none" if hit.is_complaint else report,
        )
        for hit in changes
    ]


def event_data(hit: Hit) -> dict[str, object]:
    return {
        "recipient": hit.place.address,
        "account_id": hit.place.account_id,
        "code": hit.code or 0,
        "attempts": hit.place.attempts,
        "bounce_type": hit.type,
        "bounce_code": code_of(hit),
        "bounce_reason": hit.text,
        "reason": hit.reason,
    }


def suppress(found: Found, changes: Sequence[Hit], tenant: Row, now: float) -> Script[bool]:
    """Write to these addresses no more, for as long as the tenant says; False where that is not at
    all.
    """
    until = suppressions.end_of(tenant["suppression"], now)
    items = [suppression(found.tenant_id, h, now, until) for h in changes if h.suppresses]
    if not items or until == now:
        return False
    yield from suppressions.add(items)
    return True


def suppression(tenant_id: str, hit: Hit, now: float, until: float | None) -> Suppression:
    source = suppressions.COMPLAINT if hit.is_complaint else suppressions.BOUNCE
    return Suppression(tenant_id, folded(hit.place.address), hit.text, source, now, until)


async def announce(database: Database, metrics: Metrics, recorded: Recorded) -> None:
    """Count and log what was recorded, and tell the other nodes; call it after the commit."""
    metrics.bounce(recorded.verdict)
    for hit in recorded.hits:
        if hit.effect is Effect.BOUNCE:
            metrics.bounced(recorded.tenant_id, hit.place.account_id or "")
        maillog.bounced(
            hit.place.message_pk,
            tenant=recorded.tenant_id,
            n=hit.place.n,
            type=hit.type,
            code=code_of(hit) or "",
            reason=hit.text,
        )
    if recorded.has_suppressed:
        await suppressions.announce(database, {recorded.tenant_id})
