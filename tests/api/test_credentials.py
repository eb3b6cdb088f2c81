"""POST /credential, GET /credentials, DELETE /credential/{username}."""

import httpx

from relay.crypto import digest, verify_password
from relay.model import SecretKind
from tests.api.serving import Api

OF_ACME = {"tenant_id": "acme"}


async def test_a_password_that_we_make_is_shown_once(api: Api, acme: httpx.AsyncClient) -> None:
    body = (await acme.post("/credential", json={"username": "app"})).json()
    password = body.pop("password")
    assert body == {"ok": True, "username": "app"}
    stored = await api.services.credentials.find("app")
    assert stored is not None
    assert (stored.secret_kind, stored.secret_hash) == (SecretKind.SHA256, digest(password))
    listing = await acme.get("/credentials", params=OF_ACME)
    assert password not in listing.text
    assert stored.secret_hash not in listing.text


async def test_a_password_that_is_given_is_hashed_slowly_and_not_repeated(
    api: Api, acme: httpx.AsyncClient
) -> None:
    answer = await acme.post("/credential", json={"username": "app", "password": "open sesame"})
    assert answer.json() == {"ok": True, "username": "app"}
    stored = await api.services.credentials.find("app")
    assert stored is not None
    assert stored.secret_kind is SecretKind.ARGON2ID
    assert verify_password("open sesame", stored.secret_hash)


async def test_a_login_is_listed_with_its_rights(acme: httpx.AsyncClient) -> None:
    rights = {
        "senders": ["*@acme.test", "boss@acme.test"],
        "accounts": ["main"],
        "networks": ["10.0.0.0/8"],
        "legacy": True,
        "active": False,
    }
    await acme.post("/credential", json={"username": "printer", **rights})
    (shown,) = (await acme.get("/credentials", params=OF_ACME)).json()["credentials"]
    assert shown.pop("created_at") > 0
    assert shown == {"username": "printer", "tenant_id": "acme", **rights}


async def test_a_network_that_is_not_private_is_warned_about(acme: httpx.AsyncClient) -> None:
    login = {"username": "printer", "networks": ["192.168.0.0/16", "8.8.8.0/24"], "typo": 1}
    body = (await acme.post("/credential", json=login)).json()
    assert body["warnings"][-1] == ("networks: 8.8.8.0/24 is not private: anybody in it may send")
    assert len(body["warnings"]) == 2


async def test_a_user_name_of_another_tenant_is_taken(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    await acme.post("/credential", json={"username": "app"})
    answer = await rival.post("/credential", json={"username": "app"})
    assert answer.status_code == 409


async def test_a_deleted_login_is_gone(acme: httpx.AsyncClient) -> None:
    await acme.post("/credential", json={"username": "app"})
    assert (await acme.delete("/credential/app", params=OF_ACME)).json() == {"ok": True}
    assert (await acme.delete("/credential/app", params=OF_ACME)).status_code == 404


async def test_a_login_that_is_not_understood_is_422(acme: httpx.AsyncClient) -> None:
    for change in (
        {"username": None},
        {"username": "a+b"},
        {"username": " a"},
        {"password": "short"},
        {"password": "with \0 nul"},
        {"senders": ["nobody"]},
        {"senders": "*"},
        {"networks": ["10.0.0.0/33"]},
        {"networks": ["0.0.0.0/0"]},
        {"networks": ["::/0"]},
        {"legacy": "no"},
    ):
        answer = await acme.post("/credential", json={"username": "app", **change})
        assert answer.status_code == 422, change
