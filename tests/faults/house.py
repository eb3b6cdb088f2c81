"""What is under test: nodes of one instance on a database of its own, and a sink for each tenant.

    async with House(folder, "sqlite", nodes=1) as house:
        house.nodes[0]; house.sinks["acme"]; house.tenants["acme"].password

Faults are done to its parts; the books are read from it.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from tests.conftest import PostgresServer, drop_database, make_database, postgres_programs
from tests.fakes.upstream import FakeUpstream
from tests.faults.invariants import Violation
from tests.faults.ledgers import ClientLedger, Got, SinkLedger
from tests.faults.tmpfs import SmallDisk
from tests.process import KEY, RUN, TOKEN, ServeProcess

T = TypeVar("T")

TENANTS = ("acme", "rival")
UPSTREAM_USER = "relay"
COLLECT_EVERY_S = 0.05
# What was begun at several deaths waits as after any attempt, though not here for minutes.
QUICK = {
    "PILLARBOX_RETRY_WAITS_S": "1,2",
    "PILLARBOX_DISPATCH_ACCOUNT_REST_S": "0.5,2",
    "PILLARBOX_LIMITS_MIN_FREE_DISK_BYTES": "0",
}


@dataclass(frozen=True, slots=True)
class Tenancy:
    """A tenant with all that it and its upstream know of each other. `canary` is in each mail."""

    id: str
    canary: str
    upstream_password: str
    password: str = ""
    api_key: str = ""

    @property
    def username(self) -> str:
        return f"{self.id}-app"


class Sink:
    """A tenant's upstream, whose mail goes into a ledger and is not kept."""

    def __init__(self, tenancy: Tenancy, canaries: dict[str, str]) -> None:
        users = {UPSTREAM_USER: tenancy.upstream_password}
        # A little time between dot and answer, so that faults fall into it too.
        self.upstream = FakeUpstream(users=users, delays={"DOT": 0.005})
        self.ledger = SinkLedger(tenancy.id, canaries)

    def collect(self) -> None:
        """Enter what has come, and forget it."""
        mails, self.upstream.received[:] = self.upstream.received[:], []
        self.upstream.commands.clear()
        self.upstream.cut[:-1000] = []
        for mail in mails:
            self.ledger.enter(mail.content, mail.recipients, mail.at)


class House:
    """`store` is "sqlite" or "postgres". `postgres` is a server's DSN; without it, the house starts
    a PostgreSQL of its own, which faults may then be done to (`server`). `run` is what the nodes
    are at first, in place of a plain `serve`. `disk` is mounted where it says (`small`).
    """

    def __init__(
        self,
        folder: Path,
        store: str = "sqlite",
        *,
        nodes: int = 1,
        postgres: str | None = None,
        settings: Mapping[str, str] | None = None,
        run: Sequence[str] = RUN,
        disk: SmallDisk | None = None,
    ) -> None:
        self.folder = folder
        self.store = store
        self.settings = {**QUICK, **(settings or {})}
        self.ledger = ClientLedger()
        self.tenants = {
            name: Tenancy(name, f"canary{secrets.token_hex(8)}", secrets.token_hex(12))
            for name in TENANTS
        }
        self.canaries = {tenancy.id: tenancy.canary for tenancy in self.tenants.values()}
        self.sinks = {t.id: Sink(t, self.canaries) for t in self.tenants.values()}
        self.nodes: list[ServeProcess] = []
        self.server: PostgresServer | None = None
        self.small: Path | None = None
        # What an action saw that should not be.
        self.found: list[Violation] = []
        self.url = f"sqlite:{folder / 'store' / 'pillarbox.db'}"
        self._count = nodes
        self._postgres = postgres
        self._run = run
        self._disk = disk
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "House":
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        (self.folder / "store").mkdir(parents=True, exist_ok=True)
        if self._disk and (self.store == "sqlite" or self._disk.place != "store"):
            self.small = self._stack.enter_context(self._disk.at(self.folder / self._disk.place))
        if self.store == "postgres":
            await self._open_postgres()
        for sink in self.sinks.values():
            await self._stack.enter_async_context(sink.upstream)
        for number in range(self._count):
            self.nodes.append(self.new_node(number))
            self.nodes[-1].run = self._run
            await self._stack.enter_async_context(self.nodes[-1])
        await self._prepare()
        collecting = asyncio.create_task(self._collect())
        self._stack.push_async_callback(_ended, collecting)

    async def _open_postgres(self) -> None:
        if self._postgres is None:
            programs = postgres_programs()
            assert programs
            self.server = PostgresServer(programs)
            if self._disk and self._disk.place == "store":
                self._stack.callback(self.server.folder.rmdir)
                self.small = self._stack.enter_context(self._disk.at(self.server.folder))
            self._stack.push_async_callback(asyncio.to_thread, self.server.stop)
            await asyncio.to_thread(self.server.start)
            self.url = await make_database(self.server.dsn("postgres"))
            return
        self.url = await make_database(self._postgres)
        self._stack.push_async_callback(drop_database, self.url)

    async def keep(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Start what a fault needs beside the house; it ends with the house."""
        return await self._stack.enter_async_context(resource)

    def new_node(self, number: int) -> ServeProcess:
        """Describe one more node of the instance, which is not started."""
        home = self.folder / f"node{number}" / "home"
        home.parent.mkdir(exist_ok=True)
        return ServeProcess(home, self.url, **self.settings)

    async def join(self) -> int:
        """Start one more node; return its number."""
        node = self.new_node(len(self.nodes))
        await self._stack.enter_async_context(node)
        self.nodes.append(node)
        return len(self.nodes) - 1

    async def enter(self, server: AbstractAsyncContextManager[object]) -> None:
        """Have a server beside the house for as long as it stands."""
        await self._stack.enter_async_context(server)

    async def _prepare(self) -> None:
        """Make each tenant with its account, its login and its key."""
        node = self.nodes[0]
        for tenancy in self.tenants.values():
            made = await node.post("/tenant", {"id": tenancy.id})
            await node.post("/account", self.account(tenancy))
            login = {"tenant_id": tenancy.id, "username": tenancy.username}
            password = (await node.post("/credential", login))["password"]
            self.tenants[tenancy.id] = Tenancy(
                tenancy.id,
                tenancy.canary,
                tenancy.upstream_password,
                str(password),
                str(made["api_key"]),
            )

    def account(self, tenancy: Tenancy) -> dict[str, object]:
        """Return a tenant's account as the API takes it."""
        return {
            "tenant_id": tenancy.id,
            "id": "main",
            "host": "127.0.0.1",
            "port": self.sinks[tenancy.id].upstream.port,
            "user": UPSTREAM_USER,
            "password": tenancy.upstream_password,
            "use_tls": False,
            "max_connections": 8,
        }

    async def _collect(self) -> None:
        while True:
            self.collect()
            await asyncio.sleep(COLLECT_EVERY_S)

    def collect(self) -> None:
        """Bring the sinks' ledgers up to date."""
        for sink in self.sinks.values():
            sink.collect()

    @property
    def got(self) -> list[Got]:
        return [got for sink in self.sinks.values() for got in sink.ledger.mails]

    @property
    def living(self) -> list[int]:
        """The numbers of the nodes whose process runs, and is not frozen."""
        return [n for n, node in enumerate(self.nodes) if is_alive(node)]

    @property
    def planted(self) -> tuple[tuple[str, str], ...]:
        """Secrets that no reply and no log may show: what each is, and itself."""
        found = [("the encryption key", KEY), ("the admin token", TOKEN)]
        for tenancy in self.tenants.values():
            found += [
                (f"{tenancy.id}'s password", tenancy.password),
                (f"{tenancy.id}'s API key", tenancy.api_key),
                (f"{tenancy.id}'s upstream password", tenancy.upstream_password),
            ]
        return tuple(found)

    def as_tenant(self, tenant_id: str, node: int | None = None) -> httpx.AsyncClient:
        """Return a client with a tenant's own key, of the first node that lives."""
        number = self.living[0] if node is None else node
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.nodes[number].http_port}",
            headers={"X-API-Token": self.tenants[tenant_id].api_key},
            trust_env=False,
            timeout=10,
        )


def is_alive(node: ServeProcess) -> bool:
    if node.process is None or node.process.returncode is not None:
        return False
    try:
        stat = Path(f"/proc/{node.process.pid}/stat").read_text()
    except FileNotFoundError:
        # It ended, and asyncio has not heard of it yet.
        return False
    # proc_pid_stat(5): the name in brackets, then the state; T is a process that was stopped.
    return stat.rpartition(")")[2].split()[0] != "T"


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
