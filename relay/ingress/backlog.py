"""How much of a tenant's mail may wait: beyond that, new mail is refused for a while.

Cheap, and therefore not exact: what waits is counted every few seconds at most, and what this node
took since is added. Nodes that count at the same time may together take a little more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from relay.errors import OverQuota
from relay.store.database import Database
from relay.store.slices import Index, slices

COUNT_EVERY_S = 2.0
# Counting takes this share of the time at most, however much waits.
COUNTING_SHARE = 0.05
COME_AGAIN_S = 60.0
MOST_TENANTS = 10_000
ANY = 2**53

WAITING = Index(
    "messages",
    "tenant_id = $1 AND final_at IS NULL",
    ("pk",),
    ("",),
    "size_bytes",
    "CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS size_bytes",
    is_of_one=True,
)

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait of one tenant; 0: any number."""

    messages: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Known:
    messages: int
    size_bytes: int
    until: float


@dataclass(frozen=True, slots=True)
class Refusal:
    error: OverQuota
    until: float


class Backlog:
    def __init__(self, database: Database, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._database = database
        self._bounds = bounds
        self.is_bounded = bounds != Bounds()
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._refusals: dict[str, Refusal] = {}

    async def enter(self, tenant_id: str, size_bytes: int) -> None:
        """Count one more mail. Raises OverQuota when there is no room for it."""
        known = await self._look(tenant_id)
        if self._is_over(known.messages + 1, known.size_bytes + size_bytes):
            raise OverQuota(
                "too much mail of this tenant is waiting", wait_s=COME_AGAIN_S, enhanced="4.3.1"
            )
        known.messages += 1
        known.size_bytes += size_bytes

    def note(self, tenant_id: str, error: OverQuota) -> None:
        """Remember for a moment that a tenant's mail was refused, so that the next need not be
        taken in whole to be refused too.
        """
        until = self._clock() + min(error.wait_s, COUNT_EVERY_S)
        keep(self._refusals, tenant_id, Refusal(error, until))

    def check(self, tenant_id: str) -> None:
        """Raise OverQuota when a mail of the tenant was refused a moment ago."""
        refusal = self._refusals.get(tenant_id)
        if refusal is not None and refusal.until > self._clock():
            raise refusal.error

    def _is_over(self, messages: int, size_bytes: int) -> bool:
        most = self._bounds
        return messages > (most.messages or ANY) or size_bytes > (most.size_bytes or ANY)

    async def _look(self, tenant_id: str) -> Known:
        known = self._known.get(tenant_id)
        if known is not None and known.until > self._clock():
            return known
        began_at = self._clock()
        messages, size_bytes = await self._count(tenant_id)
        now = self._clock()
        until = now + max(COUNT_EVERY_S, (now - began_at) / COUNTING_SHARE)
        known = Known(messages, size_bytes, until)
        keep(self._known, tenant_id, known)
        return known

    async def _count(self, tenant_id: str) -> tuple[int, int]:
        """Return how many messages wait and their bytes, or as much of that as is too much."""
        messages = size_bytes = 0
        async for rows in slices(self._database, WAITING, tenant_id):
            messages += sum(row["rows"] for row in rows)
            size_bytes += sum(row["size_bytes"] for row in rows)
            if self._is_over(messages, size_bytes):
                break
        return messages, size_bytes


def keep(shelf: dict[str, V], tenant_id: str, value: V) -> None:
    if len(shelf) >= MOST_TENANTS:
        shelf.clear()
    shelf[tenant_id] = value
