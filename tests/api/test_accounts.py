"""POST /account, GET /accounts, DELETE /account/{id}."""

import httpx
import pytest

from admin_api.accounts import tls_of
from admin_api.schemas.account import AccountInput
from relay.model import TlsMode
from tests.api.serving import Api, Json

OF_ACME = {"tenant_id": "acme"}
MAIN = {"id": "main", "host": "up.test", "port": 25}


async def account_of(client: httpx.AsyncClient, account_id: str = "main") -> Json:
    accounts = (await client.get("/accounts", params=OF_ACME)).json()["accounts"]
    found: Json = next(a for a in accounts if a["id"] == account_id)
    return found


async def test_an_account_is_made_and_listed_without_its_secrets(acme: httpx.AsyncClient) -> None:
    given = {**MAIN, "id": "new", "user": "u", "password": "sesame", "imap_password": "open"}
    answer = await acme.post("/account", json=given)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    listing = await acme.get("/accounts", params=OF_ACME)
    assert listing.json()["ok"] is True
    assert "sesame" not in listing.text
    assert "password" not in listing.text
    shown = await account_of(acme, "new")
    assert (shown["user"], shown["tls"], shown["use_tls"]) == ("u", "starttls", None)
    assert (shown["ttl"], shown["max_connections"], shown["limit_behavior"]) == (300, 5, "defer")


async def test_the_password_is_kept_for_sending(api: Api, acme: httpx.AsyncClient) -> None:
    await acme.post("/account", json={**MAIN, "user": "u", "password": "sesame"})
    account = await api.services.accounts.find("acme", "main")
    assert account is not None
    assert account.password == "sesame"


async def test_the_same_id_again_replaces_it_whole(api: Api, acme: httpx.AsyncClient) -> None:
    await acme.post("/account", json={**MAIN, "user": "u", "password": "sesame", "rank": 3})
    await acme.post("/account", json={**MAIN, "user": "u"})
    account = await api.services.accounts.find("acme", "main")
    assert account is not None
    assert (account.password, account.rank) == (None, 0)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "opportunistic"),
        ({"user": "u"}, "starttls"),
        ({"port": 465}, "implicit"),
        ({"port": 465, "user": "u"}, "implicit"),
        ({"use_tls": True}, "starttls"),
        ({"use_tls": True, "port": 465}, "implicit"),
        ({"use_tls": False, "user": "u"}, "none"),
        ({"use_tls": False, "tls": "implicit"}, "implicit"),
        ({"tls": "none", "user": "u"}, "none"),
    ],
)
def test_tls_follows_from_what_is_given(given: Json, mode: str) -> None:
    assert tls_of(AccountInput.model_validate({**MAIN, **given})) is TlsMode(mode)


async def test_names_are_canonical(acme: httpx.AsyncClient) -> None:
    given = {**MAIN, "host": "Up.Test", "sender_domains": ["Bücher.Test"]}
    await acme.post("/account", json=given)
    shown = await account_of(acme)
    assert (shown["host"], shown["sender_domains"]) == ("up.test", ["xn--bcher-kva.test"])


async def test_a_capture_account_needs_no_host(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/account", json={"id": "catch", "kind": "capture"})
    assert answer.status_code == 200


async def test_an_account_that_is_not_understood_is_422(acme: httpx.AsyncClient) -> None:
    for change in (
        {"id": None},
        {"id": ""},
        {"id": "@there"},
        {"id": "a\r\nb"},
        {"host": None},
        {"host": "up.test\r\n"},
        {"host": "a b"},
        {"port": 0},
        {"port": 65_536},
        {"port": "25"},
        {"use_tls": "yes"},
        {"use_tls": 1},
        {"tls": "maybe"},
        {"verify": "true"},
        {"limit_per_minute": -1},
        {"max_connections": 0},
        {"max_connections": 10**30},
        {"limit_behavior": "drop"},
        {"sender_domains": ["a b"]},
        {"rewrite_from": "nobody"},
    ):
        answer = await acme.post("/account", json={**MAIN, **change})
        assert answer.status_code == 422, change
        assert answer.json()["detail"][0]["loc"][:2] == ["body", *change]


async def test_a_host_and_a_port_are_needed(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/account", json={"id": "main"})
    assert answer.status_code == 422
    assert "host, port" in answer.text


async def test_unknown_fields_are_named(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/account", json={**MAIN, "colour": "red"})
    assert answer.json() == {"ok": True, "warnings": ["colour"]}


async def test_an_account_of_no_tenant_is_404(admin: httpx.AsyncClient, api: Api) -> None:
    answer = await admin.post("/account", json={**MAIN, "tenant_id": "none"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "tenant not found"})


async def test_a_deleted_account_is_gone(acme: httpx.AsyncClient) -> None:
    answer = await acme.delete("/account/main", params=OF_ACME)
    assert answer.json() == {"ok": True}
    assert (await acme.get("/accounts", params=OF_ACME)).json() == {"ok": True, "accounts": []}
    assert (await acme.delete("/account/main", params=OF_ACME)).status_code == 404


async def test_accounts_come_in_pages(acme: httpx.AsyncClient) -> None:
    for name in ("b", "a"):
        await acme.post("/account", json={**MAIN, "id": name})
    first = (await acme.get("/accounts", params={**OF_ACME, "limit": "2"})).json()
    assert [a["id"] for a in first["accounts"]] == ["a", "b"]
    query = {**OF_ACME, "limit": "2", "cursor": first["next_cursor"]}
    second = (await acme.get("/accounts", params=query)).json()
    assert [a["id"] for a in second["accounts"]] == ["main"]
    assert "next_cursor" not in second
