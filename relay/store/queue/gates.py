"""Whether a tenant's mail may move: it is active, and which of its batches are suspended.

Whoever changes a gate locks the tenant's row; whoever lets mail pass reads it under a shared lock,
before any lock on a message. So nothing slips through a gate that is being closed.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from relay.model import DsnWish
from relay.store.database import Query, Row, Script
from relay.store.limits import Window

ALL = "*"
HOUR_S = 3600
DAY_S = 86_400

# $2 is the epoch of a node, whose lease stands until this commits where `owner` is that.
GATES = """
SELECT id, active, suspended_batches, rate_limits, dsn, client_base_url IS NOT NULL AS is_called,
    EXISTS (SELECT 1 FROM suppressions s WHERE s.tenant_id = tenants.id) AS suppresses,
    (SELECT epoch FROM nodes WHERE epoch = $2 {key_share}) AS owner
FROM tenants WHERE id {among:$1} {for_share}
"""
NO_NODE = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """`windows` say how much mail the tenant may give us: (seconds, mails in them).

    `suppresses` says whether there are addresses that it does not write to, `dsn` and `is_called`
    say whether its senders are to be notified by mail.
    """

    active: bool
    suspended: frozenset[str]
    windows: tuple[Window, ...] = ()
    suppresses: bool = False
    dsn: DsnWish = DsnWish.AUTO
    is_called: bool = False

    def holds(self, batch_code: str | None) -> bool:
        return ALL in self.suspended or batch_code in self.suspended


def read_gates(tenant_ids: Collection[str]) -> Script[dict[str, Gate]]:
    """Return the gate of each tenant that exists, and keep it as it is until this commits."""
    gates, _ = yield from read_gates_for(tenant_ids, NO_NODE)
    return gates


def read_gates_for(
    tenant_ids: Collection[str], epoch: int
) -> Script[tuple[dict[str, Gate], int | None]]:
    """Return the gates, and the epoch if that node's lease still stands."""
    rows = yield Query(GATES, (sorted(tenant_ids), epoch))
    return {row["id"]: gate_of(row) for row in rows}, rows[0]["owner"] if rows else None


def gate_of(row: Row) -> Gate:
    limits = json.loads(row["rate_limits"] or "{}")
    windows = [(HOUR_S, limits.get("hourly")), (DAY_S, limits.get("daily"))]
    return Gate(
        bool(row["active"]),
        frozenset(json.loads(row["suspended_batches"])),
        tuple((window_s, most) for window_s, most in windows if most is not None),
        bool(row["suppresses"]),
        dsn=DsnWish(row["dsn"] or DsnWish.AUTO),
        is_called=bool(row["is_called"]),
    )
