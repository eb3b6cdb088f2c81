"""Whether a tenant's mail may move: it is active, and which of its batches are suspended.

Whoever changes a gate locks the tenant's row; whoever lets mail pass reads it under a shared lock,
before any lock on a message. So nothing slips through a gate that is being closed.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from relay.store.database import Query, Row, Script
from relay.store.limits import Window

ALL = "*"
HOUR_S = 3600
DAY_S = 86_400

GATES = """
SELECT id, active, suspended_batches, rate_limits FROM tenants WHERE id {among:$1} {for_share}
"""


@dataclass(frozen=True, slots=True)
class Gate:
    """`windows` say how much mail the tenant may give us: (seconds, mails in them)."""

    active: bool
    suspended: frozenset[str]
    windows: tuple[Window, ...] = ()

    def holds(self, batch_code: str | None) -> bool:
        return ALL in self.suspended or batch_code in self.suspended


def read_gates(tenant_ids: Collection[str]) -> Script[dict[str, Gate]]:
    """Return the gate of each tenant that exists, and keep it as it is until this commits."""
    rows = yield Query(GATES, (sorted(tenant_ids),))
    return {row["id"]: gate_of(row) for row in rows}


def gate_of(row: Row) -> Gate:
    limits = json.loads(row["rate_limits"] or "{}")
    windows = [(HOUR_S, limits.get("hourly")), (DAY_S, limits.get("daily"))]
    return Gate(
        bool(row["active"]),
        frozenset(json.loads(row["suspended_batches"])),
        tuple((window_s, most) for window_s, most in windows if most is not None),
    )
