"""POST /commands/{retry,cancel,hold,release,delete}-messages."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx

from relay.model import Account, State
from relay.store.spool import Spool
from tests.api.serving import Api, Json, Message
from tests.store.conftest import settlement

OF_ACME = {"tenant_id": "acme"}
LANE = "acme/=main"
MAIN = Account("acme", "main", "up.test", 25)


async def add(client: httpx.AsyncClient, message: Message, *ids: str, **changes: Any) -> None:
    messages = [message(id=name, **changes) for name in ids]
    answer = await client.post("/commands/add-messages", json={"messages": messages})
    assert answer.json()["queued"] == len(ids), answer.text


async def order(
    client: httpx.AsyncClient, name: str, ids: Sequence[str] | None = None, **query: Any
) -> Json:
    body = None if ids is None else {"ids": ids}
    answer = await client.post(f"/commands/{name}-messages", params={**OF_ACME, **query}, json=body)
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    return shown


async def statuses(client: httpx.AsyncClient) -> dict[str, str]:
    body = (await client.get("/messages", params=OF_ACME)).json()
    return {record["id"]: record["status"] for record in body["messages"]}


async def attempt(spool: Spool, state: State, *, due_in_s: float = 600, most: int = 10) -> None:
    """Send what is due; every recipient ends in `state`."""
    for delivery in await spool.claim(LANE, most):
        await spool.begin(delivery, MAIN)
        await spool.settle(settlement(spool, delivery, state, due_in_s=due_in_s))


async def test_mail_that_is_not_sent_is_cancelled_with_an_event(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message, "m1", to=["x@there.test", "y@there.test"])
    await add(acme, message, "m2", deferred_ts=time.time() + 600)
    assert await order(acme, "cancel", ["m1", "m2", "none"]) == {
        "ok": True,
        "count": 2,
        "skipped_count": 0,
        "skipped": [],
        "not_found": ["none"],
    }
    assert await statuses(acme) == {"m1": "cancelled", "m2": "cancelled"}
    shown = (await acme.get("/messages/m1", params=OF_ACME)).json()
    assert [e["event"] for e in shown["events"]] == ["accepted", "cancelled", "cancelled"]
    assert [r["status"] for r in shown["recipients"]] == ["cancelled", "cancelled"]
    content = await acme.get("/messages/m1/content", params=OF_ACME)
    assert content.status_code == 404
    again = await order(acme, "cancel", ["m1"])
    assert (again["count"], again["skipped"][0]["reason"]) == (0, "already final")


async def test_a_cancelled_mail_waits_to_be_reported_where_somebody_is_called(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    await admin.put("/tenant/acme", json={"client_base_url": "https://acme.test"})
    await add(acme, message, "m1")
    await order(acme, "cancel", ["m1"])
    rows = await api.services.database.fetch("SELECT kind, report FROM events ORDER BY seq")
    assert [(row["kind"], row["report"]) for row in rows] == [
        ("accepted", "none"),
        ("cancelled", "waiting"),
    ]


async def test_mail_that_is_being_sent_is_passed_over_by_every_order(
    acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    [delivery] = await spool.claim(LANE, 10)
    assert await spool.begin(delivery, MAIN) is None
    for name in ("retry", "cancel", "hold", "release"):
        answer = await order(acme, name, ["m1"])
        assert answer["count"] == 0
        (skipped,) = answer["skipped"]
        assert (skipped["id"], skipped["reason"]) == ("m1", "being sent")
    deleted = await order(acme, "delete", ["m1"])
    assert (deleted["removed"], deleted["skipped"][0]["reason"]) == (0, "being sent")
    await spool.settle(settlement(spool, delivery, State.SENT))
    assert await statuses(acme) == {"m1": "sent"}


async def test_mail_that_a_node_has_leased_and_not_begun_is_cancelled(
    acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    await spool.claim(LANE, 10)
    assert (await order(acme, "cancel", ["m1"]))["count"] == 1
    assert await statuses(acme) == {"m1": "cancelled"}


async def test_deferred_mail_is_tried_again_at_once_and_scheduled_mail_keeps_its_time(
    acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    await attempt(spool, State.DEFERRED)
    await add(acme, message, "m2", deferred_ts=time.time() + 600)
    answer = await order(acme, "retry", active_only="true")
    assert answer["count"] == 1
    assert [(s["id"], s["reason"]) for s in answer["skipped"]] == [("m2", "nothing to try again")]
    assert await statuses(acme) == {"m1": "queued", "m2": "scheduled"}
    await attempt(spool, State.SENT)
    assert (await statuses(acme))["m1"] == "sent"


async def test_failed_mail_is_tried_again_while_its_content_is_there(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    await attempt(spool, State.FAILED)
    answer = await order(acme, "retry", ["m1"])
    assert answer["skipped"][0]["reason"] == "its content was dropped"
    await add(acme, message, "m2", to=["x@there.test", "y@there.test"])
    [delivery] = await spool.claim(LANE, 10)
    await spool.begin(delivery, MAIN)
    both = settlement(spool, delivery, State.FAILED)
    await spool.settle(replace(both, keeps_content=True))
    assert (await order(acme, "retry", ["m2"]))["count"] == 1
    shown = (await acme.get("/messages/m2", params=OF_ACME)).json()
    assert [(r["status"], r["attempts"]) for r in shown["recipients"]] == [("queued", 0)] * 2
    await attempt(spool, State.SENT)
    assert (await statuses(acme))["m2"] == "sent"


async def test_held_mail_stays_until_it_is_released_whatever_becomes_of_its_batch(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message, "m1", "m2", batch_code="news")
    assert (await order(acme, "hold", ["m1"]))["count"] == 1
    assert (await order(acme, "hold", ["m1"]))["skipped"][0]["reason"] == "already held"
    batch = {**OF_ACME, "batch_code": "news"}
    await acme.post("/commands/suspend", params=batch)
    released = await order(acme, "release", ["m1", "m2"])
    assert {s["reason"] for s in released["skipped"]} == {"its batch is suspended"}
    await acme.post("/commands/activate", params=batch)
    assert await statuses(acme) == {"m1": "suspended", "m2": "queued"}
    await add(acme, message, "m1", batch_code="news", subject="corrected")
    assert (await statuses(acme))["m1"] == "suspended"
    assert (await order(acme, "release", ["m1"]))["count"] == 1
    assert await statuses(acme) == {"m1": "queued", "m2": "queued"}


async def test_an_order_is_given_by_the_filters_of_the_list(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message, "m1", "m2", batch_code="news")
    await add(acme, message, "m3", to="z@other.test")
    assert (await order(acme, "hold", batch_code="news"))["count"] == 2
    assert (await order(acme, "hold", recipient="Z@other.test"))["count"] == 1
    assert (await order(acme, "release", status="suspended"))["count"] == 3
    assert set((await statuses(acme)).values()) == {"queued"}


async def test_a_dry_run_counts_and_changes_nothing(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message, "m1", "m2")
    for name in ("cancel", "hold"):
        answer = await order(acme, name, active_only="true", dry_run="true")
        assert (answer["count"], answer["dry_run"]) == (2, True)
    assert (await order(acme, "delete", ["m1"], dry_run="true"))["removed"] == 1
    assert await statuses(acme) == {"m1": "queued", "m2": "queued"}


async def test_an_order_without_ids_or_filter_is_422(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/commands/cancel-messages", params=OF_ACME)
    assert answer.status_code == 422
    empty = await acme.post("/commands/cancel-messages", params=OF_ACME, json={})
    assert empty.status_code == 422
    assert (await acme.post("/commands/cancel-messages", json={"ids": []})).status_code == 422


async def test_messages_are_deleted_with_all_that_is_known_of_them(
    api: Api, acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    await add(acme, message, "m1")
    await attempt(spool, State.SENT)
    await add(acme, message, "m2", "m3")
    assert await order(acme, "delete", ["m1", "m2", "gone"]) == {
        "ok": True,
        "removed": 2,
        "not_found": ["gone"],
    }
    assert await statuses(acme) == {"m3": "queued"}
    for table, left in (("recipients", 1), ("contents", 1), ("events", 1), ("attempts", 0)):
        rows = await api.services.database.fetch(f"SELECT COUNT(*) AS n FROM {table}")
        assert rows[0]["n"] == left, table
    await add(acme, message, "m1")


async def test_a_deleted_message_is_still_reported_under_its_name(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    await admin.put("/tenant/acme", json={"client_base_url": "https://acme.test"})
    await add(acme, message, "m1")
    await order(acme, "cancel", ["m1"])
    assert (await order(acme, "delete", ["m1"]))["removed"] == 1
    fetch = api.services.database.fetch
    assert [r["kind"] for r in await fetch("SELECT kind FROM events")] == ["cancelled"]
    assert [r["id"] for r in await fetch("SELECT id FROM deleted_messages")] == ["m1"]


async def test_nobody_orders_for_another_tenant(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    await add(rival, message, "m1", tenant_id="rival")
    pk = (await rival.get("/messages/m1", params={"tenant_id": "rival"})).json()["pk"]
    for name in ("retry", "cancel", "hold", "release", "delete"):
        answer = await order(acme, name, ["m1", pk])
        assert answer["not_found"] == ["m1", pk]
        foreign = await acme.post(
            f"/commands/{name}-messages", params={"tenant_id": "rival"}, json={"ids": ["m1"]}
        )
        assert foreign.status_code == 401


async def test_an_order_for_more_than_a_thousand_ids_is_422(acme: httpx.AsyncClient) -> None:
    ids = [f"m{n}" for n in range(1001)]
    for name in ("cancel", "delete"):
        answer = await acme.post(f"/commands/{name}-messages", params=OF_ACME, json={"ids": ids})
        assert answer.status_code == 422
