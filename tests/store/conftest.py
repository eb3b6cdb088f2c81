"""A spool on each engine, with one tenant, and what the tests of the queue need to speak of
mail.
"""

import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest

from relay.crypto import Keyring
from relay.model import (
    Account,
    ContentTraits,
    Delivery,
    Envelope,
    Ingress,
    NewMail,
    Priority,
    Recipient,
    State,
    Tenant,
    new_pk,
)
from relay.store.accounts import AccountStore
from relay.store.database import Database
from relay.store.queue.arrival import Accepted
from relay.store.queue.settle import Resolution, Settlement
from relay.store.spool import Spool
from relay.store.tenants import TenantStore


@dataclass(frozen=True, slots=True)
class Kept:
    lane: str
    is_begun: bool


class RecordingTaker:
    """A dispatcher that sends nothing: it keeps what it is told."""

    def __init__(self, *, takes: bool = False, begins: bool = False) -> None:
        self.takes = takes
        self.begins = begins
        self.taken: list[Delivery] = []
        self.noticed: list[str] = []
        self.cancelled: list[str] = []

    def reserve(self, lane: str, size_bytes: int, *, may_begin: bool) -> Kept | None:
        return Kept(lane, self.begins and may_begin) if self.takes else None

    def cancel(self, place: Kept) -> None:
        self.cancelled.append(place.lane)

    def take(self, delivery: Delivery, place: Kept) -> None:
        self.taken.append(delivery)

    def notice(self, lanes: Iterable[str]) -> None:
        self.noticed += lanes


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([secrets.token_bytes(32)])


@pytest.fixture
async def acme(db: Database, keyring: Keyring) -> Tenant:
    tenant = Tenant("acme", "Acme")
    await TenantStore(db, keyring).save(tenant)
    return tenant


@pytest.fixture
async def account(db: Database, keyring: Keyring, acme: Tenant) -> Account:
    account = Account(acme.id, "main", "127.0.0.1", 25)
    await AccountStore(db, keyring).save(account)
    return account


def new_spool(db: Database, node_id: str = "node-1", lease_s: float = 60) -> Spool:
    return Spool(db, node_id=node_id, lease_s=lease_s, on_commit=lambda _seconds, _items: None)


@pytest.fixture
async def spool(db: Database, acme: Tenant) -> AsyncIterator[Spool]:
    spool = new_spool(db)
    await spool.start()
    yield spool
    await spool.close()


def mail(
    spool: Spool, *addresses: str, id: str | None = None, lane: str = "acme/main", **changes: object
) -> NewMail:
    now = spool.now()
    pk = new_pk(now)
    values: dict[str, object] = {
        "pk": pk,
        "id": id or pk,
        "id_given": id is not None,
        "tenant_id": "acme",
        "account_id": "main",
        "lane": lane,
        "priority": Priority.MEDIUM,
        "envelope": Envelope(
            "a@acme.test",
            tuple(Recipient(n, a) for n, a in enumerate(addresses or ("x@there.test",))),
        ),
        "content": b"Subject: hello\r\n\r\nhi\r\n",
        "traits": ContentTraits(),
        "ingress": Ingress.REST,
        "accepted_at": now,
    }
    return NewMail(**{**values, **changes})  # type: ignore[arg-type]


async def put(spool: Spool, *addresses: str, **changes: object) -> Accepted:
    return await spool.accept(mail(spool, *addresses, **changes))  # type: ignore[arg-type]


def settlement(
    spool: Spool, delivery: Delivery, state: State, *, due_in_s: float = 0
) -> Settlement:
    """One attempt after which every recipient is in `state`."""
    now = spool.now()
    return Settlement(
        delivery=delivery,
        account_id="main",
        started_at=now,
        ended_at=now,
        outcomes=(),
        resolutions=tuple(
            Resolution(p.n, state, p.attempts + 1, p.unknowns, now + due_in_s, 250, "2.0.0 Ok")
            for p in delivery.pending
        ),
    )
