"""POST and DELETE /tenant/{id}/api-key, DELETE /tenant/{id}."""

import asyncio
import time

import httpx

from relay.crypto import digest
from relay.model import Account, State
from relay.store.spool import Spool
from tests.api.serving import Api, Json, Message
from tests.api.test_orders import LANE, add, attempt
from tests.store.conftest import settlement


async def works(api: Api, key: str) -> bool:
    return (await api.client(key).get("/status")).status_code == 200


async def test_a_new_key_ends_the_earlier_one(api: Api, admin: httpx.AsyncClient) -> None:
    body = (await admin.post("/tenant/acme/api-key")).json()
    assert body.keys() == {"ok", "api_key"}
    assert len(body["api_key"]) == 43
    assert await works(api, body["api_key"])
    assert not await works(api, api.keys["acme"])
    assert await works(api, api.keys["rival"])


async def test_the_earlier_key_may_have_time_to_be_replaced(
    api: Api, admin: httpx.AsyncClient
) -> None:
    body = (await admin.post("/tenant/acme/api-key", json={"grace_s": 3600})).json()
    assert await works(api, body["api_key"])
    assert await works(api, api.keys["acme"])
    last = (await admin.post("/tenant/acme/api-key", json={})).json()
    assert await works(api, last["api_key"])
    assert not await works(api, body["api_key"])
    assert not await works(api, api.keys["acme"])


async def test_a_key_that_has_expired_is_the_same_as_a_wrong_one(
    api: Api, admin: httpx.AsyncClient
) -> None:
    soon = time.time() + 0.5
    body = (await admin.post("/tenant/acme/api-key", json={"expires_at": soon})).json()
    assert body["expires_at"] == soon
    assert await works(api, body["api_key"])
    client = api.client(body["api_key"])
    while (answer := await client.get("/status")).status_code == 200:
        assert time.time() < soon + 5
    assert answer.json() == {"detail": "Invalid or missing API token"}


async def test_a_key_cannot_expire_in_the_past(admin: httpx.AsyncClient, api: Api) -> None:
    for value in (1, -1, "soon"):
        answer = await admin.post("/tenant/acme/api-key", json={"expires_at": value})
        assert answer.status_code == 422
    assert await works(api, api.keys["acme"])


async def test_keys_are_revoked(api: Api, admin: httpx.AsyncClient) -> None:
    assert (await admin.delete("/tenant/acme/api-key")).json() == {"ok": True, "revoked": 1}
    assert not await works(api, api.keys["acme"])
    assert (await admin.delete("/tenant/acme/api-key")).json() == {"ok": True, "revoked": 0}


async def test_keys_are_the_admins_to_make(api: Api, acme: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/tenant/acme/api-key"), ("DELETE", "/tenant/acme/api-key")):
        assert (await acme.request(method, path)).status_code == 403
    assert (await acme.delete("/tenant/acme")).status_code == 403


async def test_an_unknown_tenant_has_no_keys(admin: httpx.AsyncClient) -> None:
    for method in ("POST", "DELETE"):
        answer = await admin.request(method, "/tenant/nobody/api-key")
        assert (answer.status_code, answer.json()) == (404, {"detail": "tenant not found"})
    assert (await admin.delete("/tenant/nobody")).status_code == 404


async def test_a_tenant_goes_with_all_that_is_its_own(
    api: Api,
    admin: httpx.AsyncClient,
    acme: httpx.AsyncClient,
    rival: httpx.AsyncClient,
    message: Message,
    spool: Spool,
) -> None:
    await add(acme, message, "m1")
    await attempt(spool, State.SENT)
    await add(rival, message, "m1", tenant_id="rival")
    await acme.post("/credential", json={"username": "acme-login"})
    answer = await admin.delete("/tenant/acme")
    expected: Json = {"messages": 1, "queued": 0, "unreported_events": 0}
    expected |= {"accounts": 1, "credentials": 1, "receipts": 0}
    assert answer.json() == {"ok": True, "destroyed": expected}
    assert not await works(api, api.keys["acme"])
    assert (await admin.get("/tenant/acme")).status_code == 404
    left = {"messages": 1, "recipients": 1, "contents": 1, "events": 1, "attempts": 0}
    for table, count in {**left, "accounts": 1, "credentials": 0, "api_keys": 1}.items():
        rows = await api.services.database.fetch(f"SELECT COUNT(*) AS n FROM {table}")
        assert rows[0]["n"] == count, table
    made = (await admin.post("/tenant", json={"id": "acme"})).json()
    assert await works(api, made["api_key"])


async def test_a_tenant_with_queued_mail_needs_force(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message, "m1", "m2")
    refused = await admin.delete("/tenant/acme")
    assert refused.status_code == 409
    assert refused.json()["detail"]["destroyed"]["queued"] == 2
    asked = (await admin.delete("/tenant/acme", params={"dry_run": "true"})).json()
    assert (asked["dry_run"], asked["destroyed"]["messages"]) == (True, 2)
    assert await works(api, api.keys["acme"])
    forced = await admin.delete("/tenant/acme", params={"force": "true"})
    assert forced.json()["destroyed"]["queued"] == 2
    assert await api.services.database.fetch("SELECT pk FROM messages") == []


async def test_mail_that_is_being_sent_is_waited_for(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    [delivery] = await spool.claim(LANE, 10)
    await spool.begin(delivery, Account("acme", "main", "up.test", 25))
    deleting = asyncio.create_task(admin.delete("/tenant/acme", params={"force": "true"}))
    while (await api.services.tenants.find("acme")).active:  # type: ignore[union-attr]
        await asyncio.sleep(0.01)
    assert not deleting.done()
    await spool.settle(settlement(spool, delivery, State.SENT))
    assert (await deleting).status_code == 200
    assert await api.services.database.fetch("SELECT seq FROM events") == []


async def test_a_tenant_keeps_the_key_that_it_brings(bare: Api, admin: httpx.AsyncClient) -> None:
    key = "brought-".ljust(43, "0")
    body = {"id": "moved", "api_key_hash": digest(key), "api_key_expires_at": time.time() + 3600}
    assert (await admin.post("/tenant", json=body)).json() == {"ok": True}
    assert await works(bare, key)
    again = {**body, "api_key_hash": digest("another"), "name": "Moved"}
    assert (await admin.post("/tenant", json=again)).status_code == 200
    assert await works(bare, key)
    assert "api_key_hash" not in (await admin.get("/tenant/moved")).json()


async def test_a_key_that_is_somebodys_is_brought_by_nobody_else(
    api: Api, admin: httpx.AsyncClient
) -> None:
    body = {"id": "moved", "api_key_hash": digest(api.keys["acme"])}
    assert (await admin.post("/tenant", json=body)).status_code == 422
    assert (await admin.get("/tenant/moved")).status_code == 404
    assert await works(api, api.keys["acme"])
