"""A receipt ends a doubt: the answer to a mail was lost (RFC 1047), but its provider has it.

So it is not sent again: it was sent, and that is told before what the receipt itself says.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.model import State
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.settle import FINISH, INSERT_EVENT, drop_content

# What an upstream is being offered in this moment is left to whoever offers it.
WAITING = frozenset({State.QUEUED, State.DEFERRED, State.SUSPENDED})

SENT = """
UPDATE recipients SET state = 'sent', account_id = $3, code = NULL, reply = $4, final_at = $5
WHERE message_pk = $1 AND n = $2
"""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A recipient that waits to be sent to again, though its mail may have been taken."""

    n: int
    address: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Proof:
    """That a provider has the mail of these recipients; `reply` says by what it is known."""

    message_pk: str
    tenant_id: str
    account_id: str
    doubts: Sequence[Doubt]
    reply: str
    now: float
    report: str
    keeps_content: bool


def doubts_of(places: Sequence[Row]) -> list[Doubt]:
    return [
        Doubt(place["n"], place["address"], place["attempts"])
        for place in places
        if place["unknowns"] and place["state"] in WAITING
    ]


def end_doubts(proof: Proof, seqs: Iterator[int]) -> Script[None]:
    if not proof.doubts:
        return
    pk, now = proof.message_pk, proof.now
    rows = [(pk, doubt.n, proof.account_id, proof.reply, now) for doubt in proof.doubts]
    yield Each(SENT, rows)
    yield Each(INSERT_EVENT, [event_row(proof, doubt, next(seqs)) for doubt in proof.doubts])
    yield Query(FINISH, (pk, len(proof.doubts), now))
    if not proof.keeps_content:
        yield from drop_content(pk)


def event_row(proof: Proof, doubt: Doubt, seq: int) -> tuple[Value, ...]:
    data = {
        "recipient": doubt.address,
        "account_id": proof.account_id,
        "code": 0,
        "reply": proof.reply,
        "attempts": doubt.attempts,
    }
    kind = State.SENT.value
    return (
        proof.message_pk,
        seq,
        proof.tenant_id,
        doubt.n,
        kind,
        proof.now,
        json.dumps(data),
        proof.report,
    )
