"""/health, /ready, /metrics, /status, /commands/run-now."""

from dataclasses import replace

import httpx

from admin_api.probes import Readiness
from admin_api.services import AccountTrouble, Services
from relay.crypto import digest
from relay.errors import StoreFull, StoreUnavailable
from tests.api.serving import SETTINGS, Api, Message, close, serve


async def test_health_needs_no_token(nobody: httpx.AsyncClient) -> None:
    answer = await nobody.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_node_that_can_write_is_ready(nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/ready")).status_code == 200


async def test_a_node_that_cannot_write_says_why_it_is_not_ready(services: Services) -> None:
    def check_disk() -> None:
        raise StoreFull("/secret/path is full")

    api = await serve(replace(services, readiness=Readiness(services.database, check_disk)))
    answer = await api.client(None).get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "no space left for mail"}
    assert answer.headers["Retry-After"]
    await close(api)


async def test_readiness_does_not_show_what_the_database_said(services: Services) -> None:
    def check_disk() -> None:
        raise StoreUnavailable("postgresql://user:secret@db")

    api = await serve(replace(services, readiness=Readiness(services.database, check_disk)))
    assert "secret" not in (await api.client(None).get("/ready")).text
    await close(api)


async def test_metrics_show_the_queue(
    api: Api, acme: httpx.AsyncClient, nobody: httpx.AsyncClient, message: Message
) -> None:
    await acme.post("/commands/add-messages", json={"messages": [message(priority="high")]})
    answer = await nobody.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'pillarbox_queue_recipients{priority="high",state="queued"} 1.0' in answer.text
    assert 'pillarbox_messages_accepted_total{ingress="rest",tenant="acme"} 1.0' in answer.text


async def test_metrics_ask_for_a_token_when_one_is_set(services: Services) -> None:
    settings = replace(SETTINGS, metrics_token_digest=digest("scrape"))
    api = await serve(replace(services, settings=settings))
    assert (await api.client(None).get("/metrics")).status_code == 401
    bearer = {"Authorization": "Bearer scrape"}
    assert (await api.client(None).get("/metrics", headers=bearer)).status_code == 200
    await close(api)


async def test_status_tells_the_admin_how_deep_the_queue_is(
    acme: httpx.AsyncClient, admin: httpx.AsyncClient, message: Message
) -> None:
    await acme.post("/commands/add-messages", json={"messages": [message()]})
    answer = (await admin.get("/status")).json()
    assert answer["ok"] is True
    assert answer["active"] is True
    assert (answer["version"], answer["node"]) == ("0.0.1", "n")
    assert answer["queue"] == {"queued": 1}


async def test_status_names_the_accounts_in_trouble_of_the_caller_only(
    api: Api, acme: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    api.troubles += [AccountTrouble(t, "main", "refused", 5.0) for t in ("acme", "rival")]
    own = (await acme.get("/status")).json()
    assert [t["tenant_id"] for t in own["accounts_in_trouble"]] == ["acme"]
    assert "queue" not in own
    assert len((await admin.get("/status")).json()["accounts_in_trouble"]) == 2


async def test_run_now_wakes_the_tenant_that_is_named(api: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/commands/run-now", params={"tenant_id": "acme"})
    assert answer.json() == {"ok": True}
    await admin.post("/commands/run-now")
    assert api.woken == ["acme", None]


async def test_run_now_with_a_tenants_key_wakes_that_tenant(
    api: Api, acme: httpx.AsyncClient
) -> None:
    await acme.post("/commands/run-now")
    assert api.woken == ["acme"]


async def test_a_post_that_needs_no_body_takes_none_whatever_its_type_says(
    api: Api, admin: httpx.AsyncClient
) -> None:
    json_type = {"Content-Type": "application/json"}
    for body in (b"", b"{nonsense"):
        answer = await admin.post("/commands/run-now", content=body, headers=json_type)
        assert answer.status_code == 200
