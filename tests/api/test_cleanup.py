"""POST /commands/cleanup-messages."""

import httpx

from relay.model import State
from relay.store.spool import Spool
from tests.api.serving import Api, Json, Message
from tests.api.test_orders import OF_ACME, add, attempt, order, statuses


async def cleanup(client: httpx.AsyncClient, **body: float) -> int:
    answer = await client.post("/commands/cleanup-messages", params=OF_ACME, json=body)
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    assert shown["ok"] is True
    return int(shown["removed"])


async def test_only_what_is_final_and_old_enough_goes(
    acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1", "m2")
    await attempt(spool, State.SENT)
    await add(acme, message, "m3", "m4")
    await order(acme, "hold", ["m4"])
    assert await cleanup(acme) == 0
    assert await cleanup(acme, older_than_seconds=3600) == 0
    assert await cleanup(acme, older_than_seconds=0) == 2
    assert await statuses(acme) == {"m3": "queued", "m4": "suspended"}
    assert await cleanup(acme, older_than_seconds=0) == 0


async def test_what_is_not_reported_yet_stays(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    await admin.put("/tenant/acme", json={"client_base_url": "https://acme.test"})
    await add(acme, message, "m1")
    await order(acme, "cancel", ["m1"])
    assert await cleanup(acme, older_than_seconds=0) == 0
    await admin.put("/tenant/acme", json={"client_base_url": None})
    assert await cleanup(acme, older_than_seconds=0) == 1
    for table in ("events", "recipients", "messages", "deleted_messages"):
        assert await api.services.database.fetch(f"SELECT * FROM {table}") == []


async def test_another_tenants_mail_stays(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    of_rival = {"tenant_id": "rival"}
    await add(rival, message, "m1", tenant_id="rival")
    await rival.post("/commands/cancel-messages", params=of_rival, json={"ids": ["m1"]})
    assert await cleanup(acme, older_than_seconds=0) == 0
    foreign = await acme.post("/commands/cleanup-messages", params=of_rival)
    assert foreign.status_code == 401


async def test_no_body_means_the_retention_of_the_instance(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/commands/cleanup-messages", params=OF_ACME)
    assert answer.json() == {"ok": True, "removed": 0}
