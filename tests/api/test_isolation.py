"""Nobody crosses tenants: every route of the OpenAPI document, with every token."""

import httpx
import pytest

from tests.api.operations import Request, requests
from tests.api.serving import Api, Json, Message

SECRET = "known-to-rival-only"
LOGIN, ACCOUNT, MESSAGE = "rival-login", "rival-account", "rival-message"
MISSING = "no-such-thing"
WRONG_TENANT = {"detail": "Token not authorized for this tenant"}
WRONG_TOKEN = {"detail": "Invalid or missing API token"}
TABLES = (
    "accounts",
    "credentials",
    "messages",
    "recipients",
    "contents",
    "events",
    "api_keys",
    "receipts",
    "suppressions",
)


@pytest.fixture
async def foreign(rival: httpx.AsyncClient, message: Message) -> list[str]:
    """The ids of what `rival` has."""
    await rival.post("/account", json={"id": ACCOUNT, "host": f"{SECRET}.test", "port": 25})
    await rival.post("/credential", json={"username": LOGIN})
    await rival.post("/suppressions", json={"address": f"{SECRET}@there.test"})
    mail = message(id=MESSAGE, tenant_id="rival", account_id=ACCOUNT, subject=SECRET)
    added = await rival.post("/commands/add-messages", json={"messages": [mail]})
    return [LOGIN, ACCOUNT, MESSAGE, added.json()["messages"][0]["pk"]]


async def send(client: httpx.AsyncClient, request: Request) -> httpx.Response:
    answer = await client.request(request.method, request.path, **request.options)
    assert answer.status_code < 500, f"{request}: {answer.text}"
    return answer


async def stored(api: Api) -> Json:
    """Return all that is `rival`'s."""
    rows: Json = {}
    for table in TABLES:
        found = await api.services.database.fetch(f"SELECT * FROM {table}")
        rows[table] = sorted(line for line in map(str, map(values, found)) if "rival" in line)
    tenants = await api.services.database.fetch("SELECT * FROM tenants WHERE id = 'rival'")
    rows["tenants"] = [str(values(row)) for row in tenants]
    return rows


def values(row: object) -> list[object]:
    return [row[i] for i in range(len(row))]  # type: ignore[index,arg-type]


async def test_another_tenants_name_is_refused_on_every_route(
    api: Api, acme: httpx.AsyncClient, foreign: list[str]
) -> None:
    before, count = await stored(api), 0
    for request in requests("rival", "rival", ids=foreign):
        if request.names_tenant and not request.is_admins:
            answer = await send(acme, request)
            assert (answer.status_code, answer.json()) == (401, WRONG_TENANT), str(request)
            count += 1
    assert count > 15
    assert await stored(api) == before


async def test_what_is_the_admins_is_refused_to_every_tenant(
    api: Api, acme: httpx.AsyncClient, foreign: list[str]
) -> None:
    before, count = await stored(api), 0
    for tenant_id in ("rival", "acme"):
        for request in requests(tenant_id, tenant_id):
            if request.is_admins:
                answer = await send(acme, request)
                assert answer.status_code == 403, str(request)
                count += 1
    assert count > 15
    assert await stored(api) == before


@pytest.mark.parametrize("token", ["acme", "admin"])
async def test_what_is_anothers_looks_the_same_as_what_is_missing(
    api: Api, acme: httpx.AsyncClient, admin: httpx.AsyncClient, foreign: list[str], token: str
) -> None:
    client, before = (acme if token == "acme" else admin), await stored(api)
    for thing in [*foreign, "rival"]:
        pairs = zip(
            requests("acme", thing, ids=[thing]),
            requests("acme", MISSING, ids=[MISSING]),
            strict=True,
        )
        for asked, missing in pairs:
            if asked.is_admins or (asked.route.startswith("/tenant/") and token == "admin"):
                continue
            if not changes_nothing_of_its_own(asked):
                continue
            answer, expected = await send(client, asked), await send(client, missing)
            assert SECRET not in answer.text, str(asked)
            assert answer.status_code == expected.status_code, str(asked)
            assert answer.text.replace(thing, MISSING) == expected.text, str(asked)
            if asked.path != asked.route:
                assert answer.status_code == 404, str(asked)
    assert await stored(api) == before


def changes_nothing_of_its_own(request: Request) -> bool:
    """Say whether a request is about things that it names: its answer must not depend on whose they
    are.
    """
    return request.path != request.route or "ids" in (request.body or {})


async def test_a_missing_and_a_wrong_token_are_refused_on_every_route(
    api: Api, nobody: httpx.AsyncClient, foreign: list[str]
) -> None:
    before, wrong = await stored(api), api.client("x" * 43)
    for request in requests("rival", MESSAGE, ids=foreign):
        for client in (nobody, wrong):
            answer = await send(client, request)
            assert (answer.status_code, answer.json()) == (401, WRONG_TOKEN), str(request)
    assert await stored(api) == before


async def test_nothing_of_another_tenant_is_in_any_answer(
    acme: httpx.AsyncClient, foreign: list[str]
) -> None:
    for request in requests("acme", "acme"):
        if request.method == "GET" and not request.is_admins:
            answer = await send(acme, request)
            for thing in (*foreign, SECRET):
                assert thing not in answer.text, str(request)
