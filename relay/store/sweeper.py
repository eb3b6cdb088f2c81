"""The rounds of forgetting: what each tenant's rule lets go, and what has no tenant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from relay import maillog
from relay.errors import DataRejected, Unwritable
from relay.model import Tenant
from relay.store.database import Database, Script
from relay.store.retention import DAY_S, UNDECIDED, RetentionStore, Rule
from relay.store.tenants import TenantStore

Chore = tuple[Callable[[float], Script[None]], float]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """`chores` forget what has no tenant: each a script that is given the time before which it
    goes, and the age at which it does (seconds).
    """

    database: Database
    tenants: TenantStore
    retention: RetentionStore
    keep_s: float
    chores: Sequence[Chore] = ()

    async def sweep(self) -> None:
        now = self.database.now()
        for tenant in await self.tenants.all():
            try:
                await self.retention.apply(rule_of(tenant, now, self.keep_s))
            except (DataRejected, Unwritable) as error:
                # What is wrong with one tenant's mail keeps no other's.
                maillog.unexpected("sweep", error)
        for forget, keep_s in self.chores:
            await self.database.write(partial(forget, now - keep_s))


def rule_of(tenant: Tenant, now: float, keep_s: float) -> Rule:
    """Decide what of a tenant may go. Where nobody is called, nothing waits to be reported."""
    days = tenant.keep_content_days
    return Rule(
        tenant.id,
        ended_before=now - keep_s,
        content_before=None if days is None else now - days * DAY_S,
        unreported=UNDECIDED if tenant.client_base_url else (),
    )
