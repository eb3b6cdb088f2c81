"""Who may send and by what: tenants, accounts, logins and keys, kept in memory for the hot paths.

Promises: a change made through any node is seen at once on that node and, by the database's signal,
on the others; an entry is never older than `ttl_s`, should a signal be lost. What is absent is
remembered too, for as long.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.model import Account, Credential, Tenant
from relay.store.accounts import AccountStore
from relay.store.credentials import CredentialStore
from relay.store.database import Database
from relay.store.tenants import ApiKey, TenantStore

V = TypeVar("V")

TTL_S = 10.0
MOST_ENTRIES = 50_000

ALL = ""

OnChange = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Admission:
    """A network whose hosts send by this login without a password."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    credential: Credential


class Shelf(Generic[V]):
    """A bounded cache of one kind of object; the oldest entries leave first."""

    def __init__(self, load: Callable[[str], Awaitable[V]], now: Callable[[], float]) -> None:
        self._load = load
        self._now = now
        self._entries: dict[str, tuple[float, V]] = {}
        self._changes = 0

    async def find(self, key: str) -> V:
        entry = self._entries.get(key)
        if entry and entry[0] > self._now():
            return entry[1]
        changes = self._changes
        value = await self._load(key)
        # What changed while it was read may be the old value: it is given, but not kept.
        if changes == self._changes:
            self._entries.pop(key, None)
            self._entries[key] = (self._now() + TTL_S, value)
            if len(self._entries) > MOST_ENTRIES:
                del self._entries[next(iter(self._entries))]
        return value

    def forget(self, key: str) -> None:
        self._changes += 1
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._changes += 1
        self._entries.clear()


class Directory:
    def __init__(
        self,
        database: Database,
        tenants: TenantStore,
        accounts: AccountStore,
        credentials: CredentialStore,
        now: Callable[[], float],
    ) -> None:
        """`tenant`, `accounts`, `credential` and `api_key` find by tenant, tenant, user name and
        hash.
        """
        self._tenants: Shelf[Tenant | None] = Shelf(tenants.find, now)
        self._accounts: Shelf[Sequence[Account]] = Shelf(accounts.of_tenant, now)
        self._credentials: Shelf[Credential | None] = Shelf(credentials.find, now)
        self._networked: Shelf[tuple[Admission, ...]] = Shelf(
            lambda _all: admissions(credentials), now
        )
        self._keys: Shelf[ApiKey | None] = Shelf(tenants.find_key, now)
        # How often a tenant or a login was changed, as far as was heard here.
        self.changes = 0
        # Several are asked for each mail: a method of ours around each would double its cost.
        self.tenant = self._tenants.find
        self.accounts = self._accounts.find
        self.credential = self._credentials.find
        self.api_key = self._keys.find
        database.on_signal(self._on_signal)

    async def account(self, tenant_id: str, account_id: str) -> Account | None:
        return next((a for a in await self.accounts(tenant_id) if a.id == account_id), None)

    def admissions(self) -> Awaitable[tuple[Admission, ...]]:
        """Return the networks from which no password is needed, of all tenants."""
        return self._networked.find(ALL)

    def _on_signal(self, topic: str, payload: str) -> None:
        if topic == "tenant":
            self.changes += 1
            self._tenants.forget(payload)
            self._keys.clear()
        elif topic == "account":
            self._accounts.forget(payload.partition("/")[0])
        elif topic == "credential":
            self.changes += 1
            self._credentials.forget(payload)
            self._networked.forget(ALL)


async def admissions(credentials: CredentialStore) -> tuple[Admission, ...]:
    return tuple(
        Admission(ipaddress.ip_network(network), credential)
        for credential in await credentials.networked()
        for network in credential.networks
    )
