"""Kill -9 with mail leased: it is sent as soon as the node lives again. (Kills under load are in
`tests/faults`.)
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiosmtplib
import httpx

from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.waiting import until

SESSIONS = 4
# What was begun at several deaths waits as after any attempt, though not here for minutes.
SOON = {"PILLARBOX_RETRY_WAITS_S": "1,2"}


class Ledger:
    """What clients were told: each token is the local part of one mail's recipient."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.in_doubt: set[str] = set()
        # Clients end by this and not by cancellation, which a library may swallow.
        self.is_closed = False

    def new(self) -> str:
        token = f"t{secrets.token_hex(16)}"
        self.in_doubt.add(token)
        return token

    def acknowledge(self, token: str) -> None:
        self.in_doubt.discard(token)
        self.acknowledged.add(token)


async def send_by_smtp(serve: ServeProcess, password: str, ledger: Ledger) -> None:
    """Send one mail after another on one connection, for as long as it holds."""
    client = aiosmtplib.SMTP(
        hostname="127.0.0.1", port=serve.smtp_port, start_tls=False, timeout=5, local_hostname="t"
    )
    try:
        await client.connect()
        await client.login("app", password)
        while not ledger.is_closed:
            token = ledger.new()
            mail = f"Subject: {token}\r\n\r\n{'x' * 2000}\r\n"
            _, reply = await client.sendmail("app@acme.test", f"{token}@sink.test", mail)
            assert "queued as" in reply
            ledger.acknowledge(token)
    finally:
        client.close()


async def send_by_rest(serve: ServeProcess, ledger: Ledger) -> None:
    while not ledger.is_closed:
        token = ledger.new()
        message = {
            "id": token,
            "tenant_id": "acme",
            "account_id": "main",
            "from": "app@acme.test",
            "to": f"{token}@sink.test",
            "subject": token,
            "body": "x" * 2000,
        }
        answer = await serve.client.post("/commands/add-messages", json={"messages": [message]})
        if answer.status_code == 200 and answer.json()["queued"] == 1:
            ledger.acknowledge(token)


async def load(serve: ServeProcess, password: str, ledger: Ledger) -> None:
    """Keep sending whatever happens to the server; a lost connection is opened again."""

    async def again(send_some: Callable[[], Awaitable[None]]) -> None:
        while not ledger.is_closed:
            with suppress(aiosmtplib.SMTPException, httpx.TransportError, OSError):
                await send_some()
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for _ in range(SESSIONS):
            group.create_task(again(lambda: send_by_smtp(serve, password, ledger)))
            group.create_task(again(lambda: send_by_rest(serve, ledger)))


async def prepare(serve: ServeProcess, upstream: FakeUpstream) -> str:
    """Make the tenant, the account and the login; return its password."""
    await serve.post("/tenant", {"id": "acme"})
    account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": upstream.port}
    await serve.post("/account", {**account, "use_tls": False, "max_connections": 8})
    made = await serve.post("/credential", {"tenant_id": "acme", "username": "app"})
    return str(made["password"])


async def doubts(serve: ServeProcess, token: str) -> int:
    """Count the attempts whose end nobody saw. Ask by recipient: of a mail whose 250 was lost the
    client knows no id.
    """
    query = {"tenant_id": "acme", "recipient": f"{token}@sink.test", "include_history": "true"}
    answer = await serve.client.get("/messages", params=query)
    [message] = answer.json()["messages"]
    assert any(event["data"].get("possible_duplicate") for event in message["history"]), token
    shown = await serve.client.get(f"/messages/{message['id']}", params={"tenant_id": "acme"})
    outcomes = [outcome for attempt in shown.json()["attempts"] for outcome in attempt["outcomes"]]
    return sum(outcome["verdict"] == "unknown" for outcome in outcomes)


async def drained(serve: ServeProcess) -> None:
    """Wait until nothing waits any more."""

    async def nothing_waits() -> bool:
        answer = await serve.client.get(
            "/messages", params={"tenant_id": "acme", "active_only": "true"}
        )
        return not answer.json()["messages"]

    await until(nothing_waits, timeout_s=30, every_s=0.2)


async def test_what_a_killed_node_had_leased_is_sent_as_soon_as_it_starts_again(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        FakeUpstream(hang_at="DATA") as upstream,
        ServeProcess(tmp_path / "home", database_url, **SOON) as serve,
    ):
        await prepare(serve, upstream)
        for n in range(20):
            await serve.post("/commands/add-messages", {"messages": [message(n)]})
        await upstream.wait_for_command("DATA")
        await serve.kill()
        upstream.on["DATA"] = None
        await serve.start()
        await upstream.wait_for(20, 15)
        await drained(serve)
        assert len({m.recipients for m in upstream.received}) == 20
        assert await serve.terminate() == 0


def message(n: int) -> dict[str, object]:
    return {
        "id": f"m{n}",
        "tenant_id": "acme",
        "account_id": "main",
        "from": "app@acme.test",
        "to": f"r{n}@sink.test",
        "subject": "x",
        "body": "x",
    }
