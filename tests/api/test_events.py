"""GET /events, GET /events/parked, replay-events, sync-status, and what rejections become."""

from typing import Any

import httpx
import pytest

from relay.store.database import Database, Each, Query, Script
from relay.store.outbox import Conclusion, Outbox, Receipt
from tests.api.serving import Api, Json, Message
from tests.api.test_openapi import check

OF_ACME = {"tenant_id": "acme"}
INSERT = """
INSERT INTO events (message_pk, seq, tenant_id, n, kind, at, data, report)
VALUES ($1, $2, $3, 0, $4, 1700000000.5, $5, $6)
"""


async def happen(
    db: Database, *names: str, kind: str = "sent", report: str = "waiting", seq: int = 1000
) -> None:
    """Have events of `acme` in the store, numbered from `seq`."""

    def script() -> Script[None]:
        rows = [
            (name, seq + n, "acme", kind, '{"recipient": "x@t.test", "code": 250}', report)
            for n, name in enumerate(names)
        ]
        yield Each(INSERT, rows)

    await db.write(script)


async def events(client: httpx.AsyncClient, **params: Any) -> Json:
    answer = await client.get("/events", params={**OF_ACME, **params})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def ids(body: Json) -> list[str]:
    return [event["id"] for event in body["events"]]


async def test_events_are_given_in_the_words_of_a_report(
    db: Database, acme: httpx.AsyncClient
) -> None:
    await happen(db, "a")
    body = await events(acme)
    assert body["ok"] is True
    assert body["events"] == [
        {
            "id": "a",
            "sent_ts": 1_700_000_000,
            "pk": "a",
            "tenant_id": "acme",
            "event_id": "a.1000",
            "seq": 1000,
            "recipient": "x@t.test",
            "metadata": None,
            "account_id": None,
            "code": 250,
        }
    ]


async def test_the_feed_goes_on_after_what_was_given(db: Database, acme: httpx.AsyncClient) -> None:
    assert (await events(acme))["next_after"] is None
    await happen(db, "a", "b", "c")
    first = await events(acme, limit=2)
    assert ids(first) == ["a", "b"]
    second = await events(acme, after=first["next_after"])
    assert ids(second) == ["c"]
    nothing = await events(acme, after=second["next_after"])
    assert ids(nothing) == []
    assert nothing["next_after"] == second["next_after"]
    await happen(db, "d", seq=2000)
    assert ids(await events(acme, after=nothing["next_after"])) == ["d"]
    assert ids(await events(acme)) == ["a", "b", "c", "d"]


async def test_an_event_that_was_committed_late_is_not_skipped(
    db: Database, acme: httpx.AsyncClient
) -> None:
    await happen(db, "late", seq=5000)
    first = await events(acme)
    await happen(db, "earlier", seq=4000)
    assert ids(await events(acme, after=first["next_after"])) == ["earlier"]
    assert ids(await events(acme)) == ["late", "earlier"]


async def test_what_was_reported_or_is_never_reported_is_in_the_feed_too(
    db: Database, acme: httpx.AsyncClient
) -> None:
    await happen(db, "a", report="done")
    await happen(db, "b", report="none", seq=2000)
    await happen(db, "c", report="parked", seq=3000)
    assert ids(await events(acme)) == ["a", "b", "c"]


async def test_acceptance_is_no_event_of_the_feed(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await acme.post("/commands/add-messages", json={"messages": [message()]})
    assert ids(await events(acme)) == []


@pytest.mark.parametrize("cursor", ["", "x", "MTotMQ", "MTo5OTk5OTk5OTk5OTk5OTk5OTk5OQ"])
async def test_a_cursor_that_is_not_ours_is_refused(acme: httpx.AsyncClient, cursor: str) -> None:
    answer = await acme.get("/events", params={**OF_ACME, "after": cursor})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "after"]


async def test_nobody_reads_or_replays_the_events_of_another_tenant(
    db: Database, acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    await happen(db, "a", report="parked")
    cursor = (await events(acme))["next_after"]
    for path in ("/events", "/events/parked"):
        assert (await rival.get(path, params=OF_ACME)).status_code == 401
        answer = await rival.get(path, params={"tenant_id": "rival"})
        assert answer.json()["events"] == []
    answer = await rival.get("/events", params={"tenant_id": "rival", "after": cursor})
    assert answer.json()["events"] == []
    assert (await rival.post("/commands/replay-events", params=OF_ACME)).status_code == 401
    answer = await rival.post(
        "/commands/replay-events", params={"tenant_id": "rival"}, json={"event_ids": ["a.1000"]}
    )
    assert answer.json() == {"ok": True, "replayed": 0}


async def test_parked_events_are_listed_by_page_and_replayed(
    api: Api, db: Database, acme: httpx.AsyncClient
) -> None:
    await happen(db, "a", "b", "c", report="parked")
    await happen(db, "d", report="waiting", seq=2000)
    page = (await acme.get("/events/parked", params={**OF_ACME, "limit": 2})).json()
    assert ids(page) == ["a", "b"]
    rest = (
        await acme.get("/events/parked", params={**OF_ACME, "cursor": page["next_cursor"]})
    ).json()
    assert ids(rest) == ["c"]
    assert "next_cursor" not in rest
    named = {"event_ids": ["b.1001", "nonsense", "d.2000"], "extra": 1}
    answer = await acme.post("/commands/replay-events", params=OF_ACME, json=named)
    assert answer.json() == {"ok": True, "replayed": 1, "warnings": ["extra"]}
    assert api.woken == ["acme"]
    answer = await acme.post("/commands/replay-events", params=OF_ACME)
    assert answer.json() == {"ok": True, "replayed": 2}
    assert ids((await acme.get("/events/parked", params=OF_ACME)).json()) == []


# Rejections.


async def test_a_rejected_message_that_has_an_id_becomes_an_error_event(
    acme: httpx.AsyncClient, admin: httpx.AsyncClient, message: Message
) -> None:
    await admin.put("/tenant/acme", json={"client_base_url": "http://client.test"})
    rejected = [
        message(id="no-to", to=None),
        message(id="no-account", account_id="none"),
        message(id="bad", priority="urgent"),
        message(id=None),
        message(id="x" * 256),
    ]
    answer = await acme.post("/commands/add-messages", json={"messages": [message(), *rejected]})
    assert answer.json()["queued"] == 1
    told = {e["id"]: e for e in (await events(acme))["events"]}
    assert {name: e["error"] for name, e in told.items()} == {
        "no-to": "missing to",
        "no-account": "account not found for tenant",
        "bad": "invalid payload: priority: 0 to 3, immediate, high, medium or low expected",
    }
    assert told["no-to"]["pk"] is None
    assert told["no-to"]["error_ts"] > 1_700_000_000


async def test_a_message_that_was_sent_already_is_not_told_as_an_error(
    db: Database, acme: httpx.AsyncClient, message: Message
) -> None:
    await acme.post("/commands/add-messages", json={"messages": [message()]})

    def begun() -> Script[None]:
        yield Query("UPDATE recipients SET state = 'sent'")

    await db.write(begun)
    answer = await acme.post("/commands/add-messages", json={"messages": [message()]})
    assert answer.json()["rejected"] == [{"id": "m1", "reason": "already sent"}]
    assert ids(await events(acme)) == []


async def test_rejections_wait_for_a_report_only_where_somebody_is_called(
    db: Database, acme: httpx.AsyncClient, admin: httpx.AsyncClient, message: Message
) -> None:
    bad = {"messages": [message(id="bad", to=None)]}
    await acme.post("/commands/add-messages", json=bad)
    await admin.put("/tenant/acme", json={"client_base_url": "http://client.test"})
    await acme.post("/commands/add-messages", json=bad)
    rows = await db.fetch("SELECT report FROM events WHERE kind = 'rejected' ORDER BY seq")
    assert [row["report"] for row in rows] == ["none", "waiting"]


async def test_a_rejection_for_a_tenant_that_is_not_there_is_nobodys(
    db: Database, api: Api, admin: httpx.AsyncClient, message: Message
) -> None:
    bad = {"messages": [message(id="bad", tenant_id="ghost")]}
    assert (await admin.post("/commands/add-messages", json=bad)).status_code == 400
    assert await db.fetch("SELECT 1 FROM events") == []


# How it stands with each tenant.


async def test_sync_status_says_when_each_tenant_was_called(
    api: Api, db: Database, admin: httpx.AsyncClient
) -> None:
    outbox, epoch = Outbox(db), await living(db)
    now = db.now()
    for tenant_id, conclusion in {
        "rested": Conclusion(now + 300, synced_at=now - 1),
        "quiet": Conclusion(now + 300, quiet_until=now + 300, synced_at=now - 1),
        "due": None,
    }.items():
        await admin.post("/tenant", json={"id": tenant_id, "client_base_url": "http://c.test"})
        if conclusion:
            turn = await outbox.take(tenant_id, epoch, now, beat_at=now + 300, most=10)
            assert turn
            await outbox.conclude(turn, Receipt(now), conclusion)
    body = (await admin.get("/tenants/sync-status")).json()
    assert body["ok"] is True
    assert body["sync_interval_seconds"] == 300
    found = {tenant.pop("id"): tenant for tenant in body["tenants"]}
    synced = int(now - 1)
    called = {"active": True, "client_base_url": "http://c.test"}
    assert found["rested"] == {
        **called,
        "name": "rested",
        "last_sync_ts": synced,
        "next_sync_due": False,
        "in_dnd": False,
    }
    assert found["quiet"]["in_dnd"] is True
    assert (found["due"]["next_sync_due"], found["due"]["last_sync_ts"]) == (True, None)
    assert (found["acme"]["client_base_url"], found["acme"]["next_sync_due"]) == (None, False)


async def living(db: Database) -> int:
    return int((await db.fetch("SELECT MAX(epoch) AS epoch FROM nodes"))[0]["epoch"])


async def test_sync_status_is_the_admins(acme: httpx.AsyncClient) -> None:
    assert (await acme.get("/tenants/sync-status")).status_code == 403


async def test_run_now_wakes_the_tenant_that_is_named(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    await admin.post("/commands/run-now", params=OF_ACME)
    await admin.post("/commands/run-now")
    await acme.post("/commands/run-now")
    assert api.woken == ["acme", None, "acme"]


async def test_a_record_says_when_all_of_it_was_reported(
    db: Database, acme: httpx.AsyncClient, message: Message
) -> None:
    added = await acme.post("/commands/add-messages", json={"messages": [message()]})
    pk = added.json()["messages"][0]["pk"]

    async def reported_ts() -> int | None:
        record = (await acme.get("/messages/m1", params=OF_ACME)).json()
        found: int | None = record["reported_ts"]
        return found

    def state(name: str, report: str) -> Script[None]:
        yield Query("UPDATE recipients SET state = $1, final_at = 5", (name,))
        yield Query("DELETE FROM events WHERE kind = 'sent'")
        yield Query(INSERT, (pk, 9, "acme", "sent", "{}", report))
        yield Query("UPDATE events SET reported_at = 1700000001.5 WHERE report = 'done'")

    await db.write(lambda: state("deferred", "done"))
    assert await reported_ts() is None
    await db.write(lambda: state("sent", "waiting"))
    assert await reported_ts() is None
    await db.write(lambda: state("sent", "done"))
    assert await reported_ts() == 1_700_000_001


async def test_metrics_show_what_is_still_to_be_reported(
    db: Database, nobody: httpx.AsyncClient
) -> None:
    await happen(db, "a", "b")
    await happen(db, "c", report="held", seq=2000)
    await happen(db, "d", report="done", seq=3000)
    text = (await nobody.get("/metrics")).text
    assert 'pillarbox_callback_backlog{tenant="acme"} 3.0' in text


# What a tenant may say of its URL.


@pytest.mark.parametrize(
    "secret",
    ["short", "whsec_!!!", "", "whsec_" + "A" * 88, " ".join(["whsec_" + "A" * 32] * 3)],
)
async def test_a_secret_that_no_client_could_verify_is_refused(
    api: Api, acme: httpx.AsyncClient, secret: str
) -> None:
    answer = await acme.put("/tenant/acme", json={"callback_secret": secret})
    assert answer.status_code == 422
    assert "AAAA" not in answer.text


async def test_one_secret_is_taken_and_two_while_they_change(
    api: Api, acme: httpx.AsyncClient
) -> None:
    one = "whsec_" + "A" * 32
    for secret in (one, "B" * 32, f"{one} {'B' * 32}", f"{one},{one}"):
        answer = await acme.put("/tenant/acme", json={"callback_secret": secret})
        assert answer.status_code == 200


async def test_answers_are_as_they_are_described(
    db: Database, acme: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await happen(db, "a", "b")
    await happen(db, "c", kind="failed", report="parked", seq=2000)
    await happen(db, "d", kind="deferred", report="parked", seq=3000)
    page: dict[str, str | int] = {**OF_ACME, "limit": 1}
    for path in ("/events", "/events/parked", "/tenants/sync-status"):
        check(await admin.get(path, params=page), path)
    check(await acme.get("/events"), "/events")
    check(await acme.post("/commands/replay-events", params=OF_ACME), "/commands/replay-events")
