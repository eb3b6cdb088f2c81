"""A whole node on each engine, with a tenant whose account leads to a scriptable upstream."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.app import Node
from relay.config import Config, ensure_secrets
from relay.ingress.submission import Origin, Submission
from relay.model import Account, Ingress, Recipient, State, Tenant
from relay.store.messages import MessageView
from relay.store.queue.arrival import Accepted
from tests.fakes.imap import FakeImap
from tests.fakes.upstream import FakeUpstream
from tests.waiting import until

QUICK = {
    "smtp.listen": "127.0.0.1:0",
    "retry.waits_s": [0.2, 0.4],
    "retry.jitter": 0,
    "dispatch.poll_s": 0.05,
    "dispatch.account_rest_s": [0.2, 1],
    "dispatch.drain_s": 5,
    "upstream.command_timeout_s": 5,
    "upstream.data_timeout_s": 5,
}
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="

StartNode = Callable[..., Awaitable["Relay"]]


class Relay:
    """A running node, and the words the scenarios are told in."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.is_stopped = False

    async def stop(self) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            await self.node.stop()

    async def tenant(self, tenant_id: str, **changes: object) -> None:
        tenant = replace(Tenant(tenant_id, tenant_id.title()), **changes)  # type: ignore[arg-type]
        await self.node.stores.tenants.save(tenant)

    async def account(
        self,
        upstream: FakeUpstream,
        account_id: str = "main",
        tenant_id: str = "acme",
        **changes: object,
    ) -> Account:
        account = upstream.account(tenant_id=tenant_id, id=account_id)
        account = replace(account, **changes)  # type: ignore[arg-type]
        await self.node.stores.accounts.save(account)
        return account

    async def send(self, *to: str, tenant_id: str = "acme", **changes: object) -> Accepted:
        submission = Submission(
            tenant_id=tenant_id,
            sender=f"app@{tenant_id}.test",
            recipients=tuple(Recipient(n, a) for n, a in enumerate(to or ("bob@there.test",))),
            content=b"Subject: hello\r\n\r\nhi\r\n",
            ingress=Ingress.REST,
            origin=Origin("HTTP", ip="127.0.0.1"),
            account_id="main",
        )
        return await self.node.door.accept(replace(submission, **changes))  # type: ignore[arg-type]

    async def view(self, pk: str, tenant_id: str = "acme") -> MessageView:
        view = await self.node.stores.messages.find(tenant_id, pk)
        assert view is not None
        return view

    async def states(self, pk: str) -> list[str]:
        return [r.state.value for r in (await self.view(pk)).recipients]

    async def settled(self, pk: str, *states: str, timeout_s: float = 10) -> MessageView:
        """Wait until the recipients are in these states."""

        async def reached() -> bool:
            return await self.states(pk) == list(states)

        await until(reached, timeout_s=timeout_s)
        return await self.view(pk)

    async def settled_in(self, tenant_id: str, pk: str) -> None:
        """Wait until another tenant's mail is sent."""

        async def sent() -> bool:
            return {r.state for r in (await self.view(pk, tenant_id)).recipients} == {State.SENT}

        await until(sent)

    async def rests(self) -> None:
        """Wait until an account is in trouble."""

        async def in_trouble() -> bool:
            return bool(self.node.dispatcher.troubled)

        await until(in_trouble)

    async def kinds(self, pk: str) -> list[str]:
        return [event.kind for event in await self.node.stores.messages.events(pk)]


async def open_node(home: Path, url: str, **overrides: object) -> Node:
    config = Config.load(
        home=home,
        name=str(overrides.pop("name", "default")),
        environ={"PILLARBOX_ENCRYPTION_KEY": KEY},
        overrides={**QUICK, "database.url": url, **overrides},
    )
    return await Node.open(ensure_secrets(config))


@pytest.fixture
async def start_node(database_url: str, tmp_path: Path) -> AsyncIterator[StartNode]:
    """Start nodes on one database; each is stopped in the end."""
    relays: list[Relay] = []

    async def start(**overrides: object) -> Relay:
        node = await open_node(tmp_path / "home", database_url, **overrides)
        relays.append(Relay(node))
        await node.start()
        return relays[-1]

    yield start
    for relay in reversed(relays):
        await relay.stop()


@pytest.fixture
async def relay(start_node: StartNode) -> Relay:
    relay = await start_node()
    await relay.tenant("acme")
    return relay


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with FakeImap() as server:
        yield server
