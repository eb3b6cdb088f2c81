"""The rounds of forgetting: what each tenant's rule lets go, and what has no tenant."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.model import Tenant
from relay.store.database import Database
from relay.store.retention import DAY_S, UNDECIDED, RetentionStore, Rule
from relay.store.tenants import TenantStore

Chore = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """`chores` are given the time of each round, and forget what has no tenant."""

    database: Database
    tenants: TenantStore
    retention: RetentionStore
    keep_s: float
    chores: Sequence[Chore] = ()

    async def sweep(self) -> None:
        now = self.database.now()
        for tenant in await self.tenants.all():
            await self.retention.apply(rule_of(tenant, now, self.keep_s))
        for chore in self.chores:
            await chore(now)


def rule_of(tenant: Tenant, now: float, keep_s: float) -> Rule:
    """Decide what of a tenant may go. Where nobody is called, nothing waits to be reported."""
    days = tenant.keep_content_days
    return Rule(
        tenant.id,
        ended_before=now - keep_s,
        content_before=None if days is None else now - days * DAY_S,
        unreported=UNDECIDED if tenant.client_base_url else (),
    )
