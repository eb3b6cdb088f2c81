"""Senders whose return address we replaced hear from us of what came back to it.

A server that puts its own address in the place of the sender's has taken the reports on itself (RFC
3461 §5.2.7.3): the bounce came to us, and the sender would never know. The tenant's `dsn` and the
recipient's NOTIFY count as for any failure.
"""

from collections.abc import Sequence

from relay.formats.dsn import Action, Fate
from relay.model import Ingress
from relay.store.database import Query, Row, Script
from relay.store.hits import Effect, Hit
from relay.store.queue.gates import read_gates
from relay.store.queue.notices import FAILURE, asked, is_wanted
from relay.store.queue.notify import Postmaster, case_of, notify
from relay.store.queue.settle import Notice

RECIPIENTS = """
SELECT r.n, r.address, r.notify, r.orcpt, r.lane, m.pk, m.id, m.tenant_id, m.account_id,
    m.priority, m.sender, m.ret, m.envid, m.accepted_at, m.size_bytes, m.ingress
FROM recipients r JOIN messages m ON m.pk = r.message_pk
WHERE r.message_pk = $1 AND m.sender <> '' ORDER BY r.n
"""
NO_STATUS = "5.0.0"


def forward(
    pk: str, hits: Sequence[Hit], postmaster: Postmaster, now: float
) -> Script[list[Notice]]:
    """Queue the notification of these bounces, if there is one to send."""
    told = {hit.place.n: hit for hit in hits if hit.effect is Effect.BOUNCE}
    rows = yield Query(RECIPIENTS, (pk,))
    found = [r for r in rows if r["n"] in told and FAILURE in asked(r["notify"])]
    if not found:
        return []
    tenant_id, ingress = found[0]["tenant_id"], Ingress(found[0]["ingress"])
    gates = yield from read_gates({tenant_id})
    gate = gates.get(tenant_id)
    if gate is None or not is_wanted(gate.dsn, ingress, is_called=gate.is_called):
        return []
    fates = tuple(fate_of(row, told[row["n"]]) for row in found)
    case = case_of(found[0], found[0]["lane"], fates)
    return (yield from notify([case], gates, postmaster, now))


def fate_of(row: Row, hit: Hit) -> Fate:
    code = hit.code or 0
    return Fate(
        address=row["address"],
        action=Action.FAILED,
        status=hit.status or NO_STATUS,
        reply=hit.text or hit.reason,
        diagnostic=hit.text.removeprefix(f"{code} "),
        code=code,
        orcpt=row["orcpt"],
    )
