"""For whom an acceptance of certified mail is awaited, and what is told when none comes.

The wait begins in the transaction that settles the mail as sent. It ends when a receipt comes or
when its time is over, whichever takes the row: so a timeout is told once, whatever nodes look.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay import maillog
from relay.metrics import Metrics
from relay.store.database import Each, Query, Row, Script, Value
from relay.store.queue.settle import INSERT_EVENT
from relay.store.spool import Spool

PORTION = 500

END_WAIT = "DELETE FROM pec_waits WHERE message_pk = $1 AND n = $2"
# Who is locked has a receipt in this moment.
TAKE_OVERDUE = """
DELETE FROM pec_waits WHERE (message_pk, n) IN (
    SELECT message_pk, n FROM pec_waits WHERE sent_at <= $1 ORDER BY sent_at LIMIT $2
    {skip_locked})
RETURNING message_pk, n, tenant_id, account_id, sent_at
"""
# A receipt may have come before the mail was settled as sent: then it ended no wait.
SUBJECTS = """
SELECT r.message_pk, r.n, r.address, t.client_base_url
FROM recipients r JOIN messages m ON m.pk = r.message_pk JOIN tenants t ON t.id = m.tenant_id
WHERE r.message_pk {among:$1} AND NOT EXISTS (
    SELECT 1 FROM events e WHERE e.message_pk = r.message_pk AND e.n = r.n
        AND (e.kind = 'pec_acceptance' OR e.kind = 'pec_delivery' OR e.kind = 'pec_error'))
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A recipient of whose mail no receipt came in time."""

    message_pk: str
    n: int
    tenant_id: str
    account_id: str
    sent_at: float
    address: str
    is_called: bool


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the waits: what was sent until `sent_before` is overdue."""

    sent_before: float
    now: float
    first_seq: int


class Waits:
    """Looks for mail whose acceptance is overdue."""

    def __init__(self, spool: Spool, metrics: Metrics, timeout_s: float) -> None:
        self._spool = spool
        self._metrics = metrics
        self.timeout_s = timeout_s

    async def look(self) -> None:
        """Tell of all that is overdue now, in portions."""
        while await self._look() == PORTION:
            pass

    async def _look(self) -> int:
        now = self._spool.now()
        look = Look(now - self.timeout_s, now, self._spool.next_seq(PORTION))
        taken, overdue = await self._spool.database.write(partial(give_up_waiting, look))
        for one in overdue:
            self._metrics.pec_timeout(one.tenant_id)
            maillog.pec_timeout(one.message_pk, tenant=one.tenant_id, account=one.account_id)
        return taken


def give_up_waiting(look: Look) -> Script[tuple[int, list[Overdue]]]:
    """Take the next that are overdue and tell of them; return how many were taken, and who."""
    rows = yield Query(TAKE_OVERDUE, (look.sent_before, PORTION))
    if not rows:
        return 0, []
    pks = sorted({row["message_pk"] for row in rows})
    subjects = {(s["message_pk"], s["n"]): s for s in (yield Query(SUBJECTS, (pks,)))}
    overdue = [
        overdue_of(row, subjects[row["message_pk"], row["n"]])
        for row in rows
        if (row["message_pk"], row["n"]) in subjects
    ]
    yield Each(INSERT_EVENT, event_rows(overdue, look))
    return len(rows), overdue


def overdue_of(row: Row, subject: Row) -> Overdue:
    return Overdue(
        row["message_pk"],
        row["n"],
        row["tenant_id"],
        row["account_id"],
        row["sent_at"],
        subject["address"],
        subject["client_base_url"] is not None,
    )


def event_rows(overdue: Sequence[Overdue], look: Look) -> list[tuple[Value, ...]]:
    return [
        (
            one.message_pk,
            seq,
            one.tenant_id,
            one.n,
            "pec_timeout",
            look.now,
            json.dumps(
                {
                    "recipient": one.address,
                    "account_id": one.account_id,
                    "details": f"no acceptance in {(look.now - one.sent_at) / 60:.0f} minutes",
                }
            ),
            "waiting" if one.is_called else "none",
        )
        for seq, one in enumerate(overdue, look.first_seq)
    ]
