"""Deaths beside the way of a mail: in reports, bounces, files, the command log, forgetting, and
while all secrets are sealed anew. What was done is done once, and what was not is done next time.
"""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.bounces import bounce
from tests.fakes.client import FakeClient
from tests.fakes.file_server import FileServer, Reply
from tests.fakes.imap import FakeImap
from tests.faults.actions import died, doomed
from tests.faults.house import House
from tests.faults.ledgers import new_token, sha
from tests.faults.selection import on_stores, stores
from tests.faults.traffic import message
from tests.faults.view import is_drained
from tests.process import KEY
from tests.waiting import until

PDF = b"%PDF-1.7 whole"
OF_ACME = {"tenant_id": "acme"}
NEW_KEY = base64.b64encode(b"another key of the tests, 32 b..").decode()
SOON = {
    "PILLARBOX_CALLBACK_POLL_S": "0.1",
    "PILLARBOX_CALLBACK_RETRY_WAITS_S": "0.5",
    "PILLARBOX_ATTACHMENTS_TIMEOUT_S": "5",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def house(store: str, tmp_path: Path, postgres_server: str) -> House:
    return House(tmp_path, store, postgres=postgres_server, settings=SOON)


async def add(house: House, **more: object) -> str:
    """Give a mail; return its token. A node may die of it before it answers."""
    token = new_token()
    call = {"messages": [{**message(token, house.tenants["acme"]), **more}]}
    async with house.as_tenant("acme", 0) as client:
        with suppress(httpx.TransportError):
            answer = await client.post("/commands/add-messages", json=call)
            assert answer.json()["queued"] == 1, answer.text
    return token


async def all_is_sent(house: House, mails: int) -> None:
    async def is_done() -> bool:
        return len(house.got) >= mails and await is_drained(house)

    await until(is_done, timeout_s=15)
    assert len(house.got) == mails


async def has(house: House, path: str, is_so: Callable[[Any], bool]) -> None:
    """Wait until what a tenant is shown at a path is so."""

    async def is_shown() -> bool:
        async with house.as_tenant("acme", 0) as client:
            return is_so((await client.get(path, params=OF_ACME)).json())

    await until(is_shown, timeout_s=15, every_s=0.05)


@pytest.mark.parametrize(
    ("point", "calls", "store"),
    on_stores(
        ("before a callback", 1),
        ("callback answered", 2),
        ("callback recorded, before commit", 2),
        ("callback recorded", 1),
    ),
)
async def test_a_report_is_told_again_by_its_name_unless_it_is_recorded(
    house: House, point: str, calls: int
) -> None:
    async with FakeClient() as client, house:
        serve = house.nodes[0]
        await serve.client.put("/tenant/acme", json={"client_base_url": client.url})
        await client.wait_for(lambda c: bool(c.calls))
        await doomed(serve, point)
        token = await add(house)
        await died(serve, point)
        await serve.start()
        await has(house, f"/messages/{token}", lambda shown: shown["reported_ts"] is not None)
        assert len(client.full) == calls
        assert {tuple(call.ids) for call in client.full} == {(token,)}
        assert len({entry["event_id"] for entry in client.entries}) == 1
        await all_is_sent(house, 1)


@pytest.mark.parametrize(
    ("point", "store"),
    on_stores(
        "bounce written, before commit",
        "bounce written",
        "bounce marked, before that is noted",
    ),
)
async def test_a_bounce_acts_once_and_its_mail_is_marked(house: House, point: str) -> None:
    async with FakeImap() as imap, house:
        serve = house.nodes[0]
        mailbox = asdict(imap.bounce_mailbox())
        assert (await serve.client.put("/instance", json=mailbox)).status_code == 200
        token = await add(house)
        await all_is_sent(house, 1)
        shown = (await serve.client.get(f"/messages/{token}", params=OF_ACME)).json()
        await doomed(serve, point)
        original = f"X-Pillarbox-ID: {shown['pk']}\r\n\r\n".encode()
        imap.add(bounce("app@acme.test", f"{token}@sink.test", original=original))
        await died(serve, point)
        await serve.start()

        async def is_marked() -> bool:
            return r"\Seen" in imap.mails[1].flags and bool(await bounces(house))

        await until(is_marked, timeout_s=15)
        assert await bounces(house) == [token]


async def bounces(house: House) -> list[str]:
    async with house.as_tenant("acme", 0) as client:
        events = (await client.get("/events", params=OF_ACME)).json()["events"]
    return [event["id"] for event in events if "bounce_ts" in event]


@pytest.mark.parametrize(
    ("point", "fetches", "store"),
    on_stores(
        ("file fetched", 2),
        ("files put in", 2),
        ("mail completed, before commit", 2),
        ("mail completed", 1),
    ),
)
async def test_a_mail_with_a_file_is_sent_once_and_whole(
    house: House, point: str, fetches: int
) -> None:
    async with FileServer(lambda _ask: Reply(PDF)) as files, house:
        serve = house.nodes[0]
        await doomed(serve, point)
        file = {"filename": "a.pdf", "storage_path": f"{files.url}/a.pdf"}
        token = await add(house, attachments=[file])
        await died(serve, point)
        await serve.start()
        await all_is_sent(house, 1)
        shown = (await serve.client.get(f"/messages/{token}", params=OF_ACME)).json()
        [kept] = shown["attachments"]
        assert (kept["status"], kept["sha256"]) == ("inserted", sha(PDF))
        assert len(files.asks) == fetches


@pytest.mark.parametrize("store", stores(1))
async def test_a_call_is_answered_though_its_line_in_the_log_is_lost(house: House) -> None:
    point = "command logged, before commit"
    async with house:
        await doomed(house.nodes[0], point)
        await add(house)
        await died(house.nodes[0], point)
        await house.nodes[0].start()
        await all_is_sent(house, 1)


@pytest.mark.parametrize("store", stores())
async def test_messages_are_forgotten_whole_or_not_at_all(house: House) -> None:
    point = "messages forgotten, before commit"
    async with house:
        serve = house.nodes[0]
        token = await add(house)
        await all_is_sent(house, 1)
        await doomed(serve, point)
        assert await cleanup(serve.client) is None
        await died(serve, point)
        await serve.start()
        shown = (await serve.client.get(f"/messages/{token}", params=OF_ACME)).json()
        assert [event["event"] for event in shown["events"]] == ["accepted", "sent"]
        assert await cleanup(serve.client) == 1


async def cleanup(client: httpx.AsyncClient) -> int | None:
    path, asked = "/commands/cleanup-messages", {"older_than_seconds": 0}
    try:
        answer = await client.post(path, params=OF_ACME, json=asked)
    except httpx.TransportError:
        return None
    removed: Mapping[str, int] = answer.json()
    return removed["removed"]


@pytest.mark.parametrize(
    ("point", "store"),
    on_stores(
        "account sealed anew, before commit",
        "accounts sealed anew",
        "key check written, before commit",
    ),
)
async def test_every_secret_opens_however_a_change_of_keys_ends(house: House, point: str) -> None:
    async with house:
        serve = house.nodes[0]
        serve.environment["PILLARBOX_ENCRYPTION_KEY"] = f"{NEW_KEY},{KEY}"
        await doomed(serve, point)
        with pytest.raises(httpx.TransportError):
            await serve.client.post("/commands/rekey")
        await died(serve, point)
        await serve.start()
        await add(house)
        await all_is_sent(house, 1)
        answer = await serve.client.post("/commands/rekey")
        assert answer.status_code == 200, answer.text
        serve.environment["PILLARBOX_ENCRYPTION_KEY"] = NEW_KEY
        assert await serve.terminate() == 0
        await serve.start()
        await add(house)
        await all_is_sent(house, 2)
