"""GET, POST, DELETE /suppressions, and what they do to mail."""

import time

import httpx
import pytest

from tests.api.serving import Api, Json, Message

OF_ACME = {"tenant_id": "acme"}


async def suppress(
    client: httpx.AsyncClient, address: str = "x@there.test", **more: object
) -> Json:
    answer = await client.post("/suppressions", json={"address": address, **more})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def listed(client: httpx.AsyncClient, **query: object) -> list[Json]:
    answer = await client.get("/suppressions", params={**OF_ACME, **query})  # type: ignore[dict-item]
    items: list[Json] = answer.json()["suppressions"]
    return items


async def add(client: httpx.AsyncClient, *messages: Json) -> httpx.Response:
    return await client.post("/commands/add-messages", json={"messages": messages})


async def states(client: httpx.AsyncClient, pk: str) -> dict[str, str]:
    record = (await client.get(f"/messages/{pk}", params=OF_ACME)).json()
    return {r["address"]: r["status"] for r in record["recipients"]}


async def test_an_address_is_listed_with_why_since_when_and_until_when(
    acme: httpx.AsyncClient,
) -> None:
    until = time.time() + 3600
    assert await suppress(acme, "X@There.test", reason="asked by phone", until=until) == {
        "ok": True,
        "address": "x@there.test",
        "until": until,
    }
    [item] = await listed(acme)
    assert item.pop("since") == pytest.approx(time.time(), abs=10)
    assert item == {
        "address": "x@there.test",
        "reason": "asked by phone",
        "source": "manual",
        "until": until,
    }


async def test_mail_for_it_is_rejected_and_that_of_others_is_not(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    answer = await add(acme, message(to="X@there.test"), message(id="m2", to="y@there.test"))
    assert answer.status_code == 200
    assert answer.json()["rejected"] == [{"id": "m1", "reason": "suppressed"}]
    assert [m["id"] for m in answer.json()["messages"]] == ["m2"]
    alone = await add(acme, message(id="m3"))
    assert alone.status_code == 400
    assert alone.json()["detail"]["rejected"] == [{"id": "m3", "reason": "suppressed"}]


async def test_of_several_recipients_only_the_suppressed_one_fails(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    answer = await add(acme, message(to=["x@there.test", "y@there.test"]))
    [added] = answer.json()["messages"]
    record = (await acme.get(f"/messages/{added['pk']}", params=OF_ACME)).json()
    assert [(r["address"], r["status"], r["code"], r["reply"]) for r in record["recipients"]] == [
        ("x@there.test", "failed", 550, "suppressed"),
        ("y@there.test", "queued", None, None),
    ]
    assert [e["event"] for e in record["events"]] == ["accepted", "suppressed"]
    [event] = (await acme.get("/events", params=OF_ACME)).json()["events"]
    assert (event["id"], event["recipient"], event["error"]) == ("m1", "x@there.test", "suppressed")
    assert event["error_ts"] > 1_700_000_000


async def test_a_mail_with_a_suppressed_recipient_may_still_be_replaced(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    both = ["x@there.test", "y@there.test"]
    first = (await add(acme, message(to=both))).json()["messages"][0]
    again = await add(acme, message(to=["z@there.test"]))
    assert again.json()["messages"] == [first]
    assert await states(acme, first["pk"]) == {"z@there.test": "queued"}


async def test_a_raw_mail_for_it_is_refused(acme: httpx.AsyncClient) -> None:
    await suppress(acme)
    answer = await acme.post(
        "/messages/raw",
        params={"from": "a@acme.test", "to": "x@there.test", "account_id": "main"},
        content=b"Subject: hello\r\n\r\nhi\r\n",
        headers={"Content-Type": "message/rfc822"},
    )
    assert answer.status_code in (400, 422)
    assert "suppressed" in answer.text


async def test_a_retry_passes_over_who_is_suppressed(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    await add(acme, message(to=["x@there.test", "y@there.test"]))
    retried = await acme.post("/commands/retry-messages", params=OF_ACME, json={"ids": ["m1"]})
    assert "nothing to try again" in retried.text
    await acme.delete("/suppressions", params={**OF_ACME, "address": "x@there.test"})
    await acme.post("/commands/retry-messages", params=OF_ACME, json={"ids": ["m1"]})
    assert set((await states(acme, "m1")).values()) == {"queued"}


async def test_an_address_that_is_taken_off_is_written_to_again(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    off = {**OF_ACME, "address": "X@THERE.test"}
    assert (await acme.delete("/suppressions", params=off)).json() == {"ok": True}
    assert (await acme.delete("/suppressions", params=off)).status_code == 404
    assert (await add(acme, message())).json()["queued"] == 1


async def test_what_has_ended_counts_no_more(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme, until=time.time() + 3600)
    await api.services.database.fetch("UPDATE suppressions SET until = 1 RETURNING until")
    assert await listed(acme) == []
    assert (await add(acme, message())).json()["queued"] == 1
    gone = await acme.delete("/suppressions", params={**OF_ACME, "address": "x@there.test"})
    assert gone.status_code == 404


async def test_one_tenants_list_is_nothing_to_another(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    await suppress(acme)
    assert (await add(rival, message(tenant_id="rival"))).json()["queued"] == 1
    params = {"tenant_id": "rival", "address": "x@there.test"}
    assert (await rival.delete("/suppressions", params=params)).status_code == 404
    assert len(await listed(acme)) == 1


async def test_a_tenant_that_is_destroyed_takes_its_list_along(
    api: Api, acme: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await suppress(acme)
    assert (await admin.delete("/tenant/acme")).status_code == 200
    assert await api.services.database.fetch("SELECT * FROM suppressions") == []


async def test_a_list_is_given_whole_or_page_by_page(acme: httpx.AsyncClient) -> None:
    addresses = [f"r{n}@there.test" for n in range(7)]
    for address in addresses:
        await suppress(acme, address)
    assert [item["address"] for item in await listed(acme)] == addresses
    assert [i["address"] for i in await listed(acme, address="R3@there.test")] == ["r3@there.test"]
    seen, query = [], {**OF_ACME, "limit": "3"}
    while True:
        page = (await acme.get("/suppressions", params=query)).json()
        seen += [item["address"] for item in page["suppressions"]]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == addresses


async def test_what_is_not_understood_is_422(acme: httpx.AsyncClient) -> None:
    for change in (
        {"address": "nobody"},
        {"address": "a@b.test, c@d.test"},
        {"until": 5},
        {"until": "tomorrow"},
        {"reason": ""},
    ):
        body = {"address": "x@there.test", **change}
        assert (await acme.post("/suppressions", json=body)).status_code == 422, change
    assert (await acme.delete("/suppressions", params=OF_ACME)).status_code == 422


@pytest.mark.parametrize("value", ["off", "forever", "1d", "90d"])
async def test_how_long_is_a_setting_of_the_tenant(acme: httpx.AsyncClient, value: str) -> None:
    await acme.put("/tenant/acme", json={"suppression": value})
    assert (await acme.get("/tenant/acme")).json()["suppression"] == value


@pytest.mark.parametrize("value", ["never", "0d", "30", "30 days", ""])
async def test_a_length_that_is_none_is_422(acme: httpx.AsyncClient, value: str) -> None:
    answer = await acme.put("/tenant/acme", json={"suppression": value})
    assert answer.status_code == 422
    assert "off, forever or a number of days such as 30d" in answer.text


@pytest.mark.parametrize("value", ["two words", "a@b@c.test", f"{'l' * 22}@acme.test"])
async def test_a_return_path_that_no_address_can_be_made_of_is_422(
    acme: httpx.AsyncClient, admin: httpx.AsyncClient, value: str
) -> None:
    body = {"bounce_return_path": value}
    assert (await acme.put("/tenant/acme", json=body)).status_code == 422
    assert (await admin.put("/instance", json=body)).status_code == 422
