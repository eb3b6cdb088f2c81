"""Steady traffic whatever happens to the nodes: by SMTP on connections that are kept and on fresh
ones, by REST, for each tenant on each node; and a probe that looks how each node fares.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType

import aiosmtplib
import httpx

from tests.faults.house import House, Tenancy, is_alive
from tests.faults.ledgers import FIELD, Face, Health, Overheard, Refusal, begun, new_token
from tests.process import ServeProcess

PROBE_EVERY_S = 0.1
PROBE_TIMEOUT_S = 5.0
CLIENT_TIMEOUT_S = 8.0
LINE = "The quick brown fox jumps over the lazy dog, and nobody minds.\r\n"


@dataclass(frozen=True, slots=True)
class Pace:
    """`pause_s` lies between two mails of one client; `sessions` of each kind run for each tenant
    on each node.
    """

    pause_s: float = 0.02
    sessions: int = 1
    lines: int = 30


@dataclass
class Traffic:
    """Runs as long as its block. Clients end by `is_closed` and not by cancellation, which a
    library may swallow.
    """

    house: House
    pace: Pace = field(default_factory=Pace)
    health: list[Health] = field(default_factory=list)
    overheard: list[Overheard] = field(default_factory=list)
    is_closed: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _served: int = 0

    async def __aenter__(self) -> "Traffic":
        self._tasks.append(asyncio.create_task(self._follow()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let each client end the mail it is at."""
        self.is_closed = True
        await asyncio.gather(*self._tasks)

    async def _follow(self) -> None:
        """Send to every node, also those that join later."""
        while not self.is_closed:
            while self._served < len(self.house.nodes):
                self._serve(self._served)
                self._served += 1
            await asyncio.sleep(0.1)

    def _serve(self, number: int) -> None:
        self._start(self._probe(number))
        for tenancy in self.house.tenants.values():
            for _ in range(self.pace.sessions):
                client = Client(self, number, tenancy)
                self._start(self._again(client.by_kept_smtp))
                self._start(self._again(client.by_fresh_smtp))
                self._start(self._again(client.by_rest))

    def _start(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _again(self, send: Callable[[], Awaitable[None]]) -> None:
        while not self.is_closed:
            with suppress(aiosmtplib.SMTPException, httpx.TransportError, OSError):
                await send()
            await asyncio.sleep(self.pace.pause_s)

    async def _probe(self, number: int) -> None:
        node = self.house.nodes[number]
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client:
            while not self.is_closed:
                if is_alive(node):
                    await self._look(client, number, node)
                await asyncio.sleep(PROBE_EVERY_S)

    async def _look(self, client: httpx.AsyncClient, number: int, node: ServeProcess) -> None:
        before, latency_s = monotonic(), None
        with suppress(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{node.http_port}/health")
            latency_s = monotonic() - before
        with suppress(OSError):
            assert node.process
            rss_bytes, descriptors = measured(node.process.pid)
            self.health.append(Health(number, before, latency_s, rss_bytes, descriptors))


def measured(pid: int) -> tuple[int, int]:
    """Return a process's memory and its number of descriptors."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Client:
    """What one tenant sends to one node; each method sends until something goes wrong."""

    def __init__(self, traffic: Traffic, number: int, tenancy: Tenancy) -> None:
        self._traffic = traffic
        self._number = number
        self._tenancy = tenancy
        self._node = traffic.house.nodes[number]
        self._ledger = traffic.house.ledger

    async def by_kept_smtp(self) -> None:
        async with Session(self._node, self._tenancy, self._refused) as smtp:
            while not self._traffic.is_closed:
                await self._mail(smtp)
                await asyncio.sleep(self._traffic.pace.pause_s)

    async def by_fresh_smtp(self) -> None:
        async with Session(self._node, self._tenancy, self._refused) as smtp:
            await self._mail(smtp)
            await smtp.quit()

    async def _mail(self, smtp: aiosmtplib.SMTP) -> None:
        token = new_token()
        head = f"{FIELD}: {token}\r\nSubject: {self._tenancy.canary}\r\n"
        content = f"{head}\r\n{self._body()}".encode()
        try:
            await smtp.mail(f"app@{self._tenancy.id}.test")
            await smtp.rcpt(f"{token}@sink.test")
        except aiosmtplib.SMTPResponseException as error:
            self._refused(error.code, error.message)
            raise
        # Until here it is certain that nothing was taken.
        self._ledger.begin(begun(token, self._tenancy.id, Face.SMTP, content, self._number))
        try:
            reply = await smtp.data(content)
        except aiosmtplib.SMTPResponseException as error:
            self._refused(error.code, error.message, token)
            raise
        self._ledger.accepted(token, reply.code)

    async def by_rest(self) -> None:
        async with self._traffic.house.as_tenant(self._tenancy.id, self._number) as client:
            while not self._traffic.is_closed:
                await self._post(client)
                await asyncio.sleep(self._traffic.pace.pause_s)

    async def _post(self, client: httpx.AsyncClient) -> None:
        token, body = new_token(), self._body()
        given = begun(token, self._tenancy.id, Face.REST, body.encode(), self._number)
        self._ledger.begin(given)
        try:
            answer = await client.post(
                "/commands/add-messages",
                json={"messages": [message(token, self._tenancy, body)]},
                timeout=CLIENT_TIMEOUT_S,
            )
        except httpx.ConnectError:
            self._ledger.withdraw(token)
            raise
        self._traffic.overheard.append(Overheard("add-messages", self._tenancy.id, answer.text))
        if answer.status_code != 200:
            self._refused(answer.status_code, answer.text, token, Face.REST)
        elif answer.json()["rejected"]:
            self._refused(422, answer.text, token, Face.REST)
        else:
            self._ledger.accepted(token, 200)

    def _body(self) -> str:
        return f"{self._tenancy.canary}\r\n" + LINE * self._traffic.pace.lines

    def _refused(
        self, code: int, text: str, token: str | None = None, face: Face = Face.SMTP
    ) -> None:
        # aiosmtplib says -1 where there was no reply; then nobody was refused.
        if code > 0:
            self._ledger.refused(Refusal(face, code, text, token))
            self._traffic.overheard.append(Overheard(f"{face} {code}", self._tenancy.id, text))


class Session:
    """A connection with a login, closed at the end of the block without ceremony."""

    def __init__(
        self, node: ServeProcess, tenancy: Tenancy, refused: Callable[[int, str], None]
    ) -> None:
        self._tenancy = tenancy
        self._refused = refused
        self._smtp = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=node.smtp_port,
            start_tls=False,
            timeout=CLIENT_TIMEOUT_S,
            local_hostname="client.test",
        )

    async def __aenter__(self) -> aiosmtplib.SMTP:
        try:
            await self._smtp.connect()
            await self._smtp.login(self._tenancy.username, self._tenancy.password)
        except BaseException as error:
            if isinstance(error, aiosmtplib.SMTPResponseException):
                self._refused(error.code, error.message)
            self._smtp.close()
            raise
        return self._smtp

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._smtp.close()


def message(token: str, tenancy: Tenancy, body: str = "hi\r\n") -> dict[str, object]:
    """Return a mail as the API takes it."""
    return {
        "id": token,
        "tenant_id": tenancy.id,
        "account_id": "main",
        "from": f"app@{tenancy.id}.test",
        "to": f"{token}@sink.test",
        "subject": tenancy.canary,
        "body": body,
        "headers": {FIELD: token},
    }
