"""Mail that its client wanted to be told of if it is late (RFC 2852, by-mode N).

Promises: each recipient that still waits at that time gets one event, reported like any other, and
goes on waiting; in the same transaction its sender is notified by mail as of any delay: where the
tenant wants that, and NOTIFY allows it. Two nodes that look at the same time tell of it once.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from relay.formats.dsn import Fate
from relay.model import State
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.delays import fate_of, last_attempt_by, wants
from relay.store.queue.gates import Gate, read_gates
from relay.store.queue.notices import DELAY, Case, asked
from relay.store.queue.notify import Gates, Postmaster, case_of, notify
from relay.store.queue.settle import INSERT_EVENT, Notice
from relay.store.spool import Spool

LOOK_EVERY_S = 5.0
AT_ONCE = 100
REPLY = "not delivered within the time that was asked for"
STATUS = "4.4.7"  # RFC 3463 §3.5: delivery time expired.

# Asked first, so that their gates are read before any mail is locked.
TENANTS = """
SELECT DISTINCT tenant_id FROM messages
WHERE late_at <= $1 AND late_at IS NOT NULL AND final_at IS NULL
"""
LATE = """
SELECT pk, id, tenant_id, account_id, priority, sender, ret, envid, accepted_at, expires_at,
    size_bytes, ingress, late_at
FROM messages
WHERE late_at <= $1 AND late_at IS NOT NULL AND final_at IS NULL AND tenant_id {among:$3}
ORDER BY late_at LIMIT $2 {skip_locked}
"""
WAITING = """
SELECT r.message_pk, r.n, r.address, r.notify, r.orcpt, r.lane, r.account_id, r.attempts, r.due_at,
    r.code, r.reply, r.tried_at, m.tenant_id, a.host
FROM recipients r JOIN messages m ON m.pk = r.message_pk
    LEFT JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = r.account_id
WHERE r.message_pk {among:$1} AND r.state IN ('queued', 'deferred', 'sending', 'suspended')
ORDER BY r.message_pk, r.n
"""
TOLD = "UPDATE messages SET late_at = NULL WHERE pk = $1"
WARNED = "UPDATE messages SET warned_at = $2 WHERE pk = $1"


@dataclass(frozen=True, slots=True)
class Told:
    """One portion: how many mails were late, and what was queued for their senders."""

    mails: int
    notices: tuple[Notice, ...] = ()


async def tell_of_late(spool: Spool, lifetime_s: float) -> None:
    """Tell of the mail that has become late, in portions, so that other writes have a turn.
    `lifetime_s` is how long mail is tried in all.
    """

    def script() -> Script[Told]:
        return tell(spool.now(), spool.next_seq, spool.postmaster, lifetime_s)

    mails = AT_ONCE
    while mails == AT_ONCE:
        told = await spool.database.write(script)
        for notice in told.notices:
            spool.announce(notice)
        mails = told.mails


def tell(
    now: float, next_seq: Callable[[int], int], postmaster: Postmaster | None, lifetime_s: float
) -> Script[Told]:
    tenant_ids = {row["tenant_id"] for row in (yield Query(TENANTS, (now,)))}
    if not tenant_ids:
        return Told(0)
    gates = yield from read_gates(tenant_ids)
    late = yield Query(LATE, (now, AT_ONCE, sorted(tenant_ids)))
    if not late:
        return Told(0)
    waiting = yield Query(WAITING, ([row["pk"] for row in late],))
    if waiting:
        first = next_seq(len(waiting))
        rows = [event_row(r, gates, first + n, now) for n, r in enumerate(waiting)]
        yield Each(INSERT_EVENT, rows)
    yield Each(TOLD, [(row["pk"],) for row in late])
    told = cases([row for row in late if wants(row, gates)], waiting, lifetime_s)
    if postmaster is None or not told:
        return Told(len(late))
    notices = yield from notify(told, gates, postmaster, now)
    # The sender has heard that it is late: no other warning follows.
    yield Each(WARNED, [(case.pk, now) for case in told])
    return Told(len(late), tuple(notices))


def cases(late: Sequence[Row], waiting: Sequence[Row], lifetime_s: float) -> list[Case]:
    """Return the mails of which somebody is to be notified."""
    found = []
    for mail in late:
        told = [row for row in waiting if row["message_pk"] == mail["pk"]]
        told = [row for row in told if DELAY in asked(row["notify"])]
        if told and mail["sender"]:
            until = last_attempt_by(mail, lifetime_s)
            fates = tuple(late_fate(row, until) for row in told)
            case = case_of(mail, told[0]["lane"], fates)
            found.append(replace(case, deliver_by=mail["late_at"]))
    return found


def late_fate(row: Row, until: float) -> Fate:
    """Say what its server last said; where none said anything, that its time has run out."""
    fate = fate_of(row, until)
    return fate if fate.code else replace(fate, status=STATUS, reply=REPLY, diagnostic=REPLY)


def event_row(row: Row, gates: Gates, seq: int, now: float) -> tuple[Value, ...]:
    data = {
        "recipient": row["address"],
        "account_id": row["account_id"],
        "code": row["code"] or 0,
        "reply": REPLY,
        "attempts": row["attempts"],
        "next_attempt_ts": row["due_at"],
    }
    gate: Gate | None = gates.get(row["tenant_id"])
    report = "waiting" if gate is not None and gate.is_called else "none"
    pk, tenant_id, n = row["message_pk"], row["tenant_id"], row["n"]
    return pk, seq, tenant_id, n, State.DEFERRED.value, now, json.dumps(data), report
