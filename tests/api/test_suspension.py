"""POST /commands/suspend and /commands/activate."""

import time

import httpx

from tests.api.serving import Api, Json, Message

OF_ACME = {"tenant_id": "acme"}


async def add(client: httpx.AsyncClient, *messages: Json) -> None:
    answer = await client.post("/commands/add-messages", json={"messages": list(messages)})
    assert answer.json()["queued"] == len(messages), answer.text


async def command(client: httpx.AsyncClient, name: str, **query: str) -> Json:
    answer = await client.post(f"/commands/{name}", params={**OF_ACME, **query})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def record(client: httpx.AsyncClient, message_id: str) -> Json:
    body: Json = (await client.get(f"/messages/{message_id}", params=OF_ACME)).json()
    return body


async def status(client: httpx.AsyncClient, message_id: str) -> str:
    return str((await record(client, message_id))["status"])


async def test_all_mail_of_a_tenant_is_suspended_and_activated(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(id="m1"), message(id="m2", batch_code="news"))
    assert await command(acme, "suspend", batch_code="news") == {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": "news",
        "suspended_batches": ["news"],
        "pending_messages": 1,
    }
    assert await command(acme, "suspend") == {
        "ok": True,
        "tenant_id": "acme",
        "suspended_batches": ["*"],
        "pending_messages": 2,
    }
    assert (await acme.get("/tenant/acme")).json()["suspended_batches"] == ["*"]
    assert [await status(acme, m) for m in ("m1", "m2")] == ["suspended", "suspended"]
    assert (await command(acme, "activate"))["suspended_batches"] == []
    assert [await status(acme, m) for m in ("m1", "m2")] == ["queued", "queued"]


async def test_a_batch_is_suspended_alone_and_mail_added_later_waits_with_it(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(id="m1", batch_code="news"), message(id="m2", batch_code="bills"))
    await command(acme, "suspend", batch_code="news")
    await add(acme, message(id="m3", batch_code="news"), message(id="m4"))
    assert [await status(acme, f"m{n}") for n in range(1, 5)] == [
        *("suspended", "queued", "suspended", "queued")
    ]
    assert (await command(acme, "activate", batch_code="news"))["pending_messages"] == 2
    assert await status(acme, "m3") == "queued"


async def test_asking_again_changes_nothing(acme: httpx.AsyncClient, message: Message) -> None:
    await add(acme, message(batch_code="news"))
    first = await command(acme, "suspend", batch_code="news")
    assert await command(acme, "suspend", batch_code="news") == first
    await command(acme, "suspend")
    under_all = await command(acme, "suspend", batch_code="news")
    assert under_all["suspended_batches"] == ["*"]
    done = await command(acme, "activate", batch_code="*")
    assert (await command(acme, "activate"))["suspended_batches"] == done["suspended_batches"] == []


async def test_scheduled_mail_keeps_its_own_time_and_shows_none_while_it_is_suspended(
    acme: httpx.AsyncClient, message: Message
) -> None:
    later = int(time.time()) + 600
    await add(acme, message(deferred_ts=later))
    await command(acme, "suspend")
    suspended = await record(acme, "m1")
    assert (suspended["status"], suspended["deferred_ts"]) == ("suspended", None)
    await command(acme, "activate")
    resumed = await record(acme, "m1")
    assert (resumed["status"], resumed["deferred_ts"]) == ("scheduled", later)


async def test_a_suspended_campaign_is_corrected_by_the_same_ids(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(batch_code="news", subject="wrong"))
    await command(acme, "suspend", batch_code="news")
    await add(acme, message(batch_code="news", subject="right"))
    corrected = await record(acme, "m1")
    assert (corrected["status"], corrected["message"]["subject"]) == ("suspended", "right")
    await command(acme, "activate", batch_code="news")
    content = await acme.get("/messages/m1/content", params=OF_ACME)
    assert b"Subject: right" in content.content


async def test_one_batch_cannot_be_activated_while_all_are_suspended(
    acme: httpx.AsyncClient,
) -> None:
    await command(acme, "suspend")
    query = {**OF_ACME, "batch_code": "news"}
    answer = await acme.post("/commands/activate", params=query)
    assert answer.status_code == 400
    assert "all" in answer.json()["detail"]
    assert (await command(acme, "suspend"))["suspended_batches"] == ["*"]


async def test_an_unknown_tenant_is_400_and_another_ones_401(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    for name in ("suspend", "activate"):
        unknown = await admin.post(f"/commands/{name}", params={"tenant_id": "nobody"})
        assert (unknown.status_code, unknown.json()) == (400, {"detail": "tenant not found"})
        foreign = await acme.post(f"/commands/{name}", params={"tenant_id": "rival"})
        assert foreign.status_code == 401
        assert (await admin.post(f"/commands/{name}")).status_code == 422


async def test_a_tenant_suspends_nobody_elses_mail(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    await add(rival, message(tenant_id="rival", batch_code="news"))
    await command(acme, "suspend", batch_code="news")
    await command(acme, "suspend")
    body = (await rival.get("/messages", params={"tenant_id": "rival"})).json()
    assert [m["status"] for m in body["messages"]] == ["queued"]


async def test_what_is_suspended_is_in_the_depth_of_the_queue(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(to=["x@there.test", "y@there.test"]))
    await command(acme, "suspend")
    assert (await admin.get("/status")).json()["queue"] == {"suspended": 2}


async def test_the_command_needs_no_body_whatever_its_type_says(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/commands/suspend", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
