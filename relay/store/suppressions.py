"""Addresses that a tenant does not write to any more: why, since when, until when.

Promises: an address of one tenant says nothing of another's; what has ended counts no more, swept
or not. Addresses are compared as `address.folded` writes them.

A bounce or a complaint adds what its tenant's `suppression` says: `off`, `forever`, or a number of
days such as `30d`. What is added again lasts as long as the longer of the two says, so a bounce
never shortens what somebody entered for good.
"""

import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from relay.formats.address import folded
from relay.store.database import Database, Each, Query, Row, Script, Value
from relay.store.directory import Shelf
from relay.store.queue.suppressed import AMONG

OFF = "off"
FOREVER = "forever"
DEFAULT = "30d"
SETTING = re.compile(r"off|forever|([1-9][0-9]{0,3})d")
DAY_S = 86_400.0
TOPIC = "suppression"

BOUNCE, COMPLAINT, MANUAL = "bounce", "complaint", "manual"

ANY = "SELECT 1 FROM suppressions WHERE tenant_id = $1 LIMIT 1"
PAGE = """
SELECT * FROM suppressions
WHERE tenant_id = $1 AND address > $2 AND (CAST($3 AS TEXT) IS NULL OR address = $3)
    AND (until IS NULL OR until > $4)
ORDER BY address LIMIT $5
"""
PUT = """
INSERT INTO suppressions (tenant_id, address, reason, source, since, until)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, address) DO UPDATE SET reason = $3, source = $4, since = $5, until = $6
"""
ADD = """
INSERT INTO suppressions (tenant_id, address, reason, source, since, until)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, address) DO UPDATE SET reason = $3, source = $4, since = $5, until = $6
WHERE suppressions.until < CAST($6 AS DOUBLE PRECISION)
    OR (CAST($6 AS DOUBLE PRECISION) IS NULL AND suppressions.until IS NOT NULL)
"""
REMOVE = "DELETE FROM suppressions WHERE tenant_id = $1 AND address = $2 RETURNING until"
FORGET = "DELETE FROM suppressions WHERE until <= $1"


@dataclass(frozen=True, slots=True)
class Suppression:
    """`source` is bounce, complaint or manual; `until` is None where it never ends."""

    tenant_id: str
    address: str
    reason: str
    source: str
    since: float
    until: float | None = None

    @property
    def values(self) -> tuple[Value, ...]:
        return self.tenant_id, self.address, self.reason, self.source, self.since, self.until


class SuppressionStore:
    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._users: Shelf[bool] = Shelf(self._has_any, clock)
        database.on_signal(self._on_signal)

    async def covers(self, tenant_id: str, address: str) -> bool:
        """Say whether a tenant does not write to this address; it costs nothing for one that has no
        suppressions.
        """
        if not await self._users.find(tenant_id):
            return False
        now = self._database.now()
        return bool(await self._database.fetch(AMONG, tenant_id, [folded(address)], now))

    async def page(
        self, tenant_id: str, after: str, most: int, address: str | None = None
    ) -> list[Suppression]:
        """Return up to `most` in the order of their addresses, those past `after`."""
        only = None if address is None else folded(address)
        now = self._database.now()
        rows = await self._database.fetch(PAGE, tenant_id, after, only, now, most)
        return [suppression(row) for row in rows]

    async def put(self, items: Sequence[Suppression]) -> None:
        """Make suppressions, or replace them, in one transaction; all are of one tenant."""
        rows = [item.values for item in items]

        def script() -> Script[None]:
            yield Each(PUT, rows)

        await self._database.write(script)
        await announce(self._database, {item.tenant_id for item in items})

    async def remove(self, tenant_id: str, address: str) -> bool:
        """Write to an address again; return whether it was suppressed."""
        values, now = (tenant_id, folded(address)), self._database.now()

        def script() -> Script[Sequence[Row]]:
            return (yield Query(REMOVE, values))

        removed = await self._database.write(script)
        await announce(self._database, {tenant_id})
        return any(row["until"] is None or row["until"] > now for row in removed)

    async def _has_any(self, tenant_id: str) -> bool:
        return bool(await self._database.fetch(ANY, tenant_id))

    def _on_signal(self, topic: str, payload: str) -> None:
        if topic == TOPIC:
            self._users.forget(payload)


def end_of(setting: str | None, now: float) -> float | None:
    """Return when what is suppressed now ends by a tenant's setting; None for never, `now` for
    `off`.
    """
    if setting == FOREVER:
        return None
    found = SETTING.fullmatch(setting or DEFAULT)
    return now + int(found[1] or 0) * DAY_S if found else now


def add(items: Sequence[Suppression]) -> Script[None]:
    """Suppress what a bounce or a complaint tells of."""
    # In one order: two bounces at once must not wait for each other.
    rows = [item.values for item in sorted(items, key=lambda item: item.address)]
    if rows:
        yield Each(ADD, rows)


async def announce(database: Database, tenant_ids: Collection[str]) -> None:
    """Tell every node whose suppressions changed."""
    for tenant_id in tenant_ids:
        await database.signal(TOPIC, tenant_id)


def forget(ended_before: float) -> Script[None]:
    yield Query(FORGET, (ended_before,))


def suppression(row: Row) -> Suppression:
    return Suppression(
        row["tenant_id"],
        row["address"],
        row["reason"],
        row["source"],
        row["since"],
        row["until"],
    )
