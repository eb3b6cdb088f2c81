"""How much of a tenant's mail may wait: beyond that, new mail is refused for a while.

Cheap, and therefore not exact: what waits is counted every few seconds at most, and what this node
took since is added. Nodes that count at the same time may together take a little more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from relay.errors import OverQuota
from relay.store.database import Database

COUNT_EVERY_S = 2.0
COME_AGAIN_S = 60.0
MOST_TENANTS = 10_000

COUNT = """
SELECT COUNT(*) AS mails FROM (
    SELECT pk FROM messages WHERE tenant_id = $1 AND final_at IS NULL LIMIT $2) AS waiting
"""


@dataclass(slots=True)
class Known:
    waiting: int
    until: float


class Backlog:
    def __init__(self, database: Database, most: int, clock: Callable[[], float]) -> None:
        """`most` messages of a tenant may wait; 0: any number."""
        self._database = database
        self._most = most
        self._clock = clock
        self._known: dict[str, Known] = {}

    async def enter(self, tenant_id: str) -> None:
        """Count one more mail. Raises OverQuota when there is no room for it."""
        if not self._most:
            return
        known = await self._look(tenant_id)
        if known.waiting >= self._most:
            raise OverQuota(
                "too much mail of this tenant is waiting", wait_s=COME_AGAIN_S, enhanced="4.3.1"
            )
        known.waiting += 1

    async def _look(self, tenant_id: str) -> Known:
        known = self._known.get(tenant_id)
        if known is not None and known.until > self._clock():
            return known
        rows = await self._database.fetch(COUNT, tenant_id, self._most)
        if len(self._known) >= MOST_TENANTS:
            self._known.clear()
        known = Known(rows[0]["mails"], self._clock() + COUNT_EVERY_S)
        self._known[tenant_id] = known
        return known
