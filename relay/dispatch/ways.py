"""Where each lane leads: its tenant's wishes and the outlets of the accounts that may carry its
mail.

Learned from the directory when a lane is first seen, forgotten when the directory says that its
tenant changed, and asked for again from time to time, should that word have been lost.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.dispatch import route
from relay.dispatch.health import Health
from relay.dispatch.outlet import Outlet
from relay.model import Account
from relay.store.directory import Directory
from relay.store.queue.gates import ALL


@dataclass(frozen=True, slots=True)
class Way:
    """`outlets` is empty where nothing can carry the mail now: no such account, or the tenant is
    not active.
    """

    weight: int = 1
    outlets: tuple[Outlet, ...] = ()
    wants_reports: bool = False
    keeps_content: bool = False
    suspended: tuple[str, ...] = ()

    def holds(self, batch_code: str | None) -> bool:
        """Say whether its tenant suspended such mail."""
        return ALL in self.suspended or batch_code in self.suspended


NOWHERE = Way()


class Ways:
    def __init__(self, directory: Directory, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._ways: dict[str, Way] = {}
        self._stale: set[str] = set()
        self._outlets: dict[tuple[str, str], Outlet] = {}

    @property
    def outlets(self) -> Sequence[Outlet]:
        return list(self._outlets.values())

    def is_known(self, lane: str) -> bool:
        return lane in self._ways

    def known(self, lane: str) -> Way:
        return self._ways.get(lane, NOWHERE)

    async def find(self, lane: str) -> Way:
        if lane in self._ways and lane not in self._stale:
            return self._ways[lane]
        self._stale.discard(lane)
        way = self._ways[lane] = await self._learn(lane)
        return way

    def open_outlet(self, lane: str) -> Outlet | None:
        """Choose among the outlets that can take mail now: lowest rank, by weight inside it."""
        now, outlets = self._clock(), self.known(lane).outlets
        if len(outlets) == 1:
            return outlets[0] if outlets[0].is_open(now) else None
        able = [outlet for outlet in outlets if outlet.is_open(now)]
        if len(able) <= 1:
            return able[0] if able else None
        draw = random.random()  # noqa: S311 - spreads load, guards nothing
        chosen = route.choose([outlet.account for outlet in able], draw)
        return next((outlet for outlet in able if outlet.account is chosen), None)

    def forget(self, tenant_id: str) -> list[str]:
        """Learn a tenant's lanes anew when they are next looked at; return them."""
        lanes = [lane for lane in self._ways if route.split_lane(lane)[0] == tenant_id]
        self._stale.update(lanes)
        return lanes

    def refresh(self) -> None:
        self._stale.update(self._ways)

    async def _learn(self, lane: str) -> Way:
        tenant_id, _, _ = route.split_lane(lane)
        tenant = await self._directory.tenant(tenant_id)
        if tenant is None:
            return Way()
        wishes = (
            tenant.client_base_url is not None,
            bool(tenant.keep_content_days),
            tenant.suspended_batches,
        )
        if not tenant.active:
            return Way(tenant.weight, (), *wishes)
        accounts = route.candidates(lane, await self._directory.accounts(tenant_id))
        return Way(tenant.weight, tuple(self._outlet(a, lane) for a in accounts), *wishes)

    def _outlet(self, account: Account, lane: str) -> Outlet:
        outlet = self._outlets.setdefault(account.key, Outlet(account))
        if outlet.account != account:
            outlet.account = account
            # Whatever was wrong may have been mended by the change.
            outlet.health = Health()
            outlet.full_until = 0.0
        outlet.lanes.add(lane)
        return outlet
