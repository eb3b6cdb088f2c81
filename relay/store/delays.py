"""Senders of mail that is late are told so, once.

A mail is late when it has been due for `after_s` and a recipient still waits. All of them that may
be told of are told of together, in the transaction that remembers it; two nodes that look at the
same time do not tell twice. Mail that its tenant holds back is not late. Mail whose client named
the time of that itself (RFC 2852) is told of at that time instead (`late`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.formats.dsn import Action, Fate
from relay.model import Ingress, new_pk
from relay.store.database import Each, Query, Row, Script
from relay.store.queue.gates import Gate, read_gates
from relay.store.queue.notices import DELAY, NO_REPLY, Case, asked, is_wanted
from relay.store.queue.notify import AT_ONCE, Postmaster, case_of, notify
from relay.store.queue.settle import Notice
from relay.store.spool import Spool
from relay.store.tenants import TenantStore

# However much waits, one transaction looks at so many.
LOOKED_AT = 5_000
END = """
SELECT pk FROM messages WHERE tenant_id = $1 AND final_at IS NULL AND pk > $2 AND pk < $3
ORDER BY pk LIMIT 1 OFFSET $4
"""
LATE = """
SELECT pk, id, tenant_id, account_id, priority, sender, ret, envid, accepted_at, expires_at,
    size_bytes, ingress
FROM messages
WHERE tenant_id = $1 AND final_at IS NULL AND pk > $2 AND pk <= $3 AND accepted_at <= $4
    AND ingress {among:$6} AND sender <> ''
    AND warned_at IS NULL AND late_at IS NULL AND held_at IS NULL
    AND (deferred_ts IS NULL OR deferred_ts <= $4)
ORDER BY pk LIMIT $5 {skip_locked}
"""
WAITING = """
SELECT r.message_pk, r.address, r.notify, r.orcpt, r.lane, r.code, r.reply, r.tried_at, a.host
FROM recipients r LEFT JOIN messages m ON m.pk = r.message_pk
    LEFT JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = r.account_id
WHERE r.message_pk {among:$1} AND r.state IN ('queued', 'deferred', 'sending')
ORDER BY r.message_pk, r.n
"""
WARNED = "UPDATE messages SET warned_at = $2 WHERE pk = $1"
LOOK_EVERY_S = 60.0
UNTRIED = "its server could not be used yet"


@dataclass(frozen=True, slots=True)
class Patience:
    """When mail is late, and how long it is tried in all (seconds)."""

    after_s: float
    lifetime_s: float

    @property
    def look_every_s(self) -> float:
        return min(self.after_s, LOOK_EVERY_S)


@dataclass(frozen=True, slots=True)
class Round:
    """One portion was looked at; `after` is where the next begins, None when there is none."""

    notices: tuple[Notice, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Delays:
    spool: Spool
    tenants: TenantStore
    postmaster: Postmaster
    patience: Patience

    async def warn(self) -> None:
        """Tell every sender whose mail has become late."""
        for tenant in await self.tenants.all():
            after: str | None = ""
            while tenant.active and after is not None:
                after = await self._warn_some(tenant.id, after)

    async def _warn_some(self, tenant_id: str, after: str) -> str | None:
        now = self.spool.now()
        script = partial(warn_some, tenant_id, after, self.postmaster, self.patience, now)
        done = await self.spool.database.write(script)
        for notice in done.notices:
            self.spool.announce(notice)
        return done.after


def warn_some(
    tenant_id: str, after: str, postmaster: Postmaster, patience: Patience, now: float
) -> Script[Round]:
    gates = yield from read_gates({tenant_id})
    wanted = ingresses(gates.get(tenant_id))
    if not wanted:
        return Round((), None)
    before = now - patience.after_s
    youngest = new_pk(before)
    ends = yield Query(END, (tenant_id, after, youngest, LOOKED_AT - 1))
    following = ends[0]["pk"] if ends else None
    until = following or youngest
    late = yield Query(LATE, (tenant_id, after, until, before, AT_ONCE, wanted))
    if len(late) == AT_ONCE:
        following = late[-1]["pk"]
    if not late:
        return Round((), following)
    waiting = yield Query(WAITING, ([row["pk"] for row in late],))
    told = cases(late, waiting, patience)
    notices = yield from notify(told, gates, postmaster, now)
    yield Each(WARNED, [(case.pk, now) for case in told])
    return Round(tuple(notices), following)


def ingresses(gate: Gate | None) -> list[str]:
    """Return by which ways mail came in whose senders are to be told."""
    if gate is None:
        return []
    return [i.value for i in Ingress if is_wanted(gate.dsn, i, is_called=gate.is_called)]


def wants(row: Row, gates: Mapping[str, Gate]) -> bool:
    gate = gates.get(row["tenant_id"])
    ingress = Ingress(row["ingress"])
    return gate is not None and is_wanted(gate.dsn, ingress, is_called=gate.is_called)


def cases(late: Sequence[Row], waiting: Sequence[Row], patience: Patience) -> list[Case]:
    """Return the mails that have a recipient to tell of."""
    found = []
    for mail in late:
        rows = [row for row in waiting if row["message_pk"] == mail["pk"]]
        told = [row for row in rows if DELAY in asked(row["notify"])]
        if told:
            fates = tuple(fate_of(row, last_attempt_by(mail, patience.lifetime_s)) for row in told)
            found.append(case_of(mail, told[0]["lane"], fates))
    return found


def last_attempt_by(mail: Row, lifetime_s: float) -> float:
    expires_at: float | None = mail["expires_at"]
    return mail["accepted_at"] + lifetime_s if expires_at is None else expires_at


def fate_of(row: Row, until: float) -> Fate:
    """Say how it stands with a recipient, by its last attempt."""
    code, reply = row["code"] or 0, row["reply"] or UNTRIED
    return Fate(
        address=row["address"],
        action=Action.DELAYED,
        status=f"{code // 100}.0.0" if code else NO_REPLY,
        reply=reply,
        diagnostic=reply,
        code=code,
        remote=row["host"] if code else None,
        orcpt=row["orcpt"],
        last_attempt_at=row["tried_at"],
        retry_until=until,
    )
