"""A node as the outside sees it: mail goes in by REST or SMTP, and what became of it is asked by
REST and told by callback.
"""

import asyncio
import smtplib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from cli.running import RunningNode, running
from relay.config import Config, ensure_secrets
from tests.fakes.client import FakeClient
from tests.fakes.upstream import FakeUpstream
from tests.process import KEY, TOKEN
from tests.waiting import until

Json = dict[str, Any]
TENANT = {"tenant_id": "acme"}
LOGIN = ("app", "a password of the app")
WAIT_S = 1.0
SETTINGS: Mapping[str, object] = {
    "http.listen": "127.0.0.1:0",
    "smtp.listen": "127.0.0.1:0",
    "retry.waits_s": [WAIT_S],
    "retry.jitter": 0,
    "callback.poll_s": 0.02,
    "dispatch.poll_s": 0.05,
    "dispatch.account_rest_s": [0.3, 1],
    "dispatch.drain_s": 1,
    "upstream.connect_timeout_s": 3,
    "upstream.command_timeout_s": 3,
    "upstream.data_timeout_s": 3,
}


class Outside:
    def __init__(self, node: RunningNode, rest: httpx.AsyncClient, client: FakeClient) -> None:
        self.rest = rest
        self.client = client
        self._node = node

    async def post(self, path: str, **body: object) -> None:
        answer = await self.rest.post(path, json={**TENANT, **body})
        assert answer.status_code == 200, answer.text

    async def account(self, port: int, account_id: str = "main", /, **changes: object) -> None:
        values = {"id": account_id, "host": "127.0.0.1", "port": port, "tls": "none"}
        await self.post("/account", **(values | changes))

    async def give(self, way: str, message_id: str, to: Sequence[str], text: str = "hi") -> None:
        """Give a mail by SMTP or REST; raise where it is not taken."""
        if way == "smtp":
            await asyncio.to_thread(self._give_by_smtp, message_id, to, text)
            return
        message = {
            "id": message_id,
            **TENANT,
            "account_id": "main",
            "from": "app@acme.test",
            "to": list(to),
            "subject": "hello",
            "body": text,
        }
        await self.post("/commands/add-messages", messages=[message])

    def _give_by_smtp(self, message_id: str, to: Sequence[str], text: str) -> None:
        head = (
            "From: app@acme.test\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
            f"X-Pillarbox-Id: {message_id}\r\nX-Pillarbox-Account: main\r\n\r\n"
        )
        _, host, port = self._node.node.smtp.addresses[0]
        with smtplib.SMTP(host, port, timeout=20) as session:
            session.login(*LOGIN)
            mail = f"{head}{text}\r\n".encode()
            session.sendmail("app@acme.test", to, mail, mail_options=("BODY=8BITMIME",))

    async def record(self, message_id: str) -> Json:
        answer = await self.rest.get(f"/messages/{message_id}", params=TENANT)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def tried(self, message_id: str, attempts: int = 1, timeout_s: float = 10) -> Json:
        """Wait until so many attempts were made."""

        async def reached() -> bool:
            return len((await self.record(message_id))["attempts"]) >= attempts

        await until(reached, timeout_s=timeout_s)
        return await self.record(message_id)

    async def ends(self, message_id: str, timeout_s: float = 10) -> Json:
        """Wait until all is over with a mail."""

        async def ended() -> bool:
            return (await self.record(message_id))["status"] in ("sent", "partial", "failed")

        await until(ended, timeout_s=timeout_s)
        return await self.record(message_id)

    async def told(self, message_id: str, address: str, entries: int) -> list[Json]:
        """Wait until the client was told so often of a recipient; return what it was told."""

        def of_it(client: FakeClient) -> list[Json]:
            return [
                entry
                for entry in client.entries
                if entry["id"] == message_id and entry["recipient"] == address
            ]

        await self.client.wait_for(lambda client: len(of_it(client)) >= entries)
        return of_it(self.client)

    async def trouble(self) -> str:
        """Wait until an account is in trouble; say why."""

        async def troubled() -> bool:
            return bool(await self._troubles())

        await until(troubled)
        return str((await self._troubles())[0]["reason"])

    async def no_trouble(self) -> None:
        async def untroubled() -> bool:
            return not await self._troubles()

        await until(untroubled)

    async def _troubles(self) -> list[Json]:
        troubles: list[Json] = (await self.rest.get("/status")).json()["accounts_in_trouble"]
        return troubles


@asynccontextmanager
async def outside(
    home: Path, database_url: str, settings: Mapping[str, object]
) -> AsyncIterator[Outside]:
    config = Config.load(
        home=home,
        name="default",
        environ={"PILLARBOX_ENCRYPTION_KEY": KEY, "PILLARBOX_API_TOKEN": TOKEN},
        overrides={**SETTINGS, "database.url": database_url, **settings},
    )
    async with (
        FakeClient() as client,
        running(ensure_secrets(config)) as node,
        httpx.AsyncClient(
            base_url=node.http_url, headers={"X-API-Token": TOKEN}, trust_env=False, timeout=10
        ) as rest,
    ):
        relay = Outside(node, rest, client)
        await relay.post("/tenant", id="acme", client_base_url=client.url)
        await relay.account(1)
        await relay.post("/credential", username=LOGIN[0], password=LOGIN[1])
        yield relay


def transactions(upstream: FakeUpstream) -> int:
    """Count the mails that an upstream was offered."""
    return sum(command.startswith("MAIL") for command in upstream.commands)
