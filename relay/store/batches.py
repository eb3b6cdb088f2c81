"""Suspending and activating a tenant's mail, from the first portion to the last."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from relay.errors import NotFound
from relay.store.database import Database, Write
from relay.store.queue import suspend
from relay.store.queue.suspend import Step

# More lanes than this are found by the dispatcher's next look at the store.
MOST_SIGNALS = 50


@dataclass(frozen=True, slots=True)
class Standing:
    """What is suspended now, and how many messages (of the batch that was named) are not final."""

    suspended: tuple[str, ...]
    pending: int


class BatchStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def suspend(self, tenant_id: str, batch_code: str | None) -> Standing:
        """Hold back a batch, or all with None; when this returns, none of its mail is begun any
        more. Raises NotFound.
        """
        now = self._database.now()
        closing = partial(suspend.close_gate, tenant_id, batch_code, now)
        first = await self._turn(tenant_id, closing)
        after = first.after
        while after is not None:
            more = partial(suspend.hold_more, tenant_id, batch_code, after)
            after = (await self._database.write(more)).after
        return await self._standing(tenant_id, batch_code, first)

    async def activate(self, tenant_id: str, batch_code: str | None) -> Standing:
        """Let a batch go, or all with None. Raises NotFound, Refused for one while all are held."""
        now = self._database.now()
        opening = partial(suspend.open_gate, tenant_id, batch_code, now)
        step = first = await self._turn(tenant_id, opening)
        await announce(self._database, step.lanes)
        while step.after is not None:
            more = partial(suspend.let_go_more, tenant_id, batch_code, step.after, now)
            step = await self._database.write(more)
            await announce(self._database, step.lanes)
        return await self._standing(tenant_id, batch_code, first)

    async def _turn(self, tenant_id: str, change: Write[Step | None]) -> Step:
        step = await self._database.write(change)
        if step is None:
            raise NotFound("no such tenant")
        await self._database.signal("tenant", tenant_id)
        return step

    async def _standing(self, tenant_id: str, batch_code: str | None, first: Step) -> Standing:
        pending = await suspend.count_open(self._database, tenant_id, batch_code)
        return Standing(first.suspended, pending)


async def announce(database: Database, lanes: Iterable[str]) -> None:
    """Tell the nodes which lanes have work."""
    for lane in sorted(lanes)[:MOST_SIGNALS]:
        await database.signal("lane", lane)
