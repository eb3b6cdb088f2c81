"""Who may do what: 401, 403 and 404 on every route, and nothing across tenants."""

from dataclasses import dataclass

import httpx

from admin_api.app import ROUTES
from admin_api.routes import Access, Route
from relay.crypto import digest, new_secret
from relay.store.database import Query, Script
from tests.api.serving import ADMIN_TOKEN, Api, Json, Message

WRONG = {"detail": "Invalid or missing API token"}
NOT_YOURS = {"detail": "Token not authorized for this tenant"}
CLOSED = [route for route in ROUTES if route.access is not Access.OPEN]


def path_of(route: Route, name: str) -> str:
    return route.path.replace("{id}", name).replace("{username}", name)


async def test_every_route_but_the_open_ones_asks_for_a_token(api: Api) -> None:
    for token in (None, "", "wrong", new_secret(), "x" * 5000, ADMIN_TOKEN + "x"):
        client = api.client(token)
        for route in CLOSED:
            answer = await client.request(route.method, path_of(route, "acme"))
            assert (answer.status_code, answer.json()) == (401, WRONG), route.path


async def test_a_token_may_come_as_bearer(api: Api, nobody: httpx.AsyncClient) -> None:
    for scheme in ("Bearer", "bearer"):
        header = {"Authorization": f"{scheme} {api.keys['acme']}"}
        assert (await nobody.get("/status", headers=header)).status_code == 200
    for value in (api.keys["acme"], f"Basic {api.keys['acme']}", "Bearer"):
        answer = await nobody.get("/status", headers={"Authorization": value})
        assert answer.status_code == 401


async def test_a_key_ends_when_it_expires(api: Api) -> None:
    now = api.services.database.now()
    for expires_at, status in ((now - 1, 401), (now + 3600, 200)):
        key = await api.services.tenants.new_key("acme", expires_at)
        assert (await api.client(key).get("/status")).status_code == status


async def test_a_new_key_ends_the_one_before(api: Api, acme: httpx.AsyncClient) -> None:
    assert (await acme.get("/status")).status_code == 200
    await api.services.tenants.new_key("acme")
    assert (await acme.get("/status")).status_code == 401


async def test_the_routes_of_the_admin_are_403_with_a_tenants_key(
    acme: httpx.AsyncClient,
) -> None:
    for route in (route for route in ROUTES if route.access is Access.ADMIN):
        answer = await acme.request(route.method, path_of(route, "acme"))
        assert answer.status_code == 403, route.path


async def test_naming_another_tenant_in_the_query_is_401_on_every_route(
    acme: httpx.AsyncClient, message: Message
) -> None:
    query = {"tenant_id": "rival", "from": "a@b.test", "to": "c@d.test", "address": "e@f.test"}
    named = [r for r in CLOSED if r.query and "tenant_id" in r.query.model_fields]
    routes = [r for r in named if r.access is not Access.ADMIN]
    assert len(routes) > 8
    for route in routes:
        answer = await acme.request(route.method, path_of(route, "main"), params=query)
        assert (answer.status_code, answer.json()) == (401, NOT_YOURS), route.path


async def test_naming_another_tenant_in_the_body_is_401(
    acme: httpx.AsyncClient, message: Message
) -> None:
    bodies: dict[str, Json] = {
        "/account": {"tenant_id": "rival", "id": "x", "host": "h.test", "port": 25},
        "/credential": {"tenant_id": "rival", "username": "x"},
        "/commands/add-messages": {"messages": [message(), message(id="m2", tenant_id="rival")]},
    }
    for path, body in bodies.items():
        answer = await acme.post(path, json=body)
        assert (answer.status_code, answer.json()) == (401, NOT_YOURS)
    listed = await acme.get("/messages", params={"tenant_id": "acme"})
    assert listed.json()["messages"] == []


@dataclass(frozen=True)
class Planted:
    """What `rival` owns; every value has the canary in it."""

    message_id: str
    pk: str
    account_id: str
    username: str


async def plant(rival: httpx.AsyncClient, message: Message) -> Planted:
    account = {"id": "canary-account", "host": "canary.test", "port": 25}
    await rival.post("/account", json=account)
    await rival.post("/credential", json={"username": "canary-user"})
    mail = message(
        id="canary-id", tenant_id="rival", account_id="canary-account", subject="canary subject"
    )
    added = (await rival.post("/commands/add-messages", json={"messages": [mail]})).json()
    return Planted("canary-id", added["messages"][0]["pk"], "canary-account", "canary-user")


async def test_what_is_anothers_looks_the_same_as_what_does_not_exist(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    planted = await plant(rival, message)
    names = (planted.message_id, planted.pk, planted.account_id, planted.username, "rival")
    tenants_own = [r for r in CLOSED if r.access is not Access.ADMIN]
    for route in (r for r in tenants_own if "{" in r.path and r.method != "PUT"):
        unknown = await acme.request(
            route.method, path_of(route, "unknown"), params={"tenant_id": "acme"}
        )
        assert unknown.status_code == 404
        for name in names:
            answer = await acme.request(
                route.method, path_of(route, name), params={"tenant_id": "acme"}
            )
            assert (answer.status_code, answer.content) == (404, unknown.content), route.path
            assert dict(answer.headers) == dict(unknown.headers)
    assert (await acme.put("/tenant/rival", json={"name": "x"})).status_code == 404
    shown = await rival.get("/messages/canary-id", params={"tenant_id": "rival"})
    assert shown.status_code == 200


async def test_no_list_shows_anything_of_another_tenant(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    planted = await plant(rival, message)
    await rival.post("/commands/add-messages", json={"messages": [message(tenant_id="rival")]})
    page = await rival.get("/messages", params={"tenant_id": "rival", "limit": "1"})
    stolen = page.json()["next_cursor"]
    queries: list[Json] = [
        {},
        {"cursor": stolen},
        {"recipient": "x@there.test"},
        {"account_id": planted.account_id},
        {"include_history": "true"},
    ]
    for path in ("/messages", "/accounts", "/credentials", "/status", "/tenant/acme"):
        for query in queries:
            answer = await acme.get(path, params={"tenant_id": "acme", **query})
            assert "canary" not in answer.text
            assert "rival" not in answer.text


async def test_an_account_of_another_tenant_cannot_be_sent_by(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    planted = await plant(rival, message)
    answer = await acme.post(
        "/commands/add-messages", json={"messages": [message(account_id=planted.account_id)]}
    )
    (rejection,) = answer.json()["detail"]["rejected"]
    assert rejection == {"id": "m1", "reason": "account not found for tenant"}


async def test_a_key_is_stored_as_its_hash_only(api: Api) -> None:
    def keys() -> Script[list[str]]:
        return [row["key_hash"] for row in (yield Query("SELECT key_hash FROM api_keys"))]

    assert digest(api.keys["acme"]) in await api.services.database.write(keys)
