"""What a message's story says besides what happened to its recipients. No report carries it."""

import json
from dataclasses import dataclass
from functools import partial

from relay.model import Delivery
from relay.store.database import Database, Query, Script

WARN = """
INSERT INTO events (message_pk, seq, tenant_id, kind, at, data, report)
VALUES ($1, $2, $3, 'warned', $4, $5, 'none') ON CONFLICT (message_pk, seq) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class WarningStore:
    database: Database

    async def warn(self, delivery: Delivery, reason: str) -> None:
        now = self.database.now()
        await self.database.write(partial(warn, delivery, reason, now))


def warn(delivery: Delivery, reason: str, now: float) -> Script[None]:
    data = json.dumps({"reason": reason})
    yield Query(WARN, (delivery.pk, int(now * 1e6), delivery.tenant_id, now, data))
