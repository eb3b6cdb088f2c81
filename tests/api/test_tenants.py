"""POST /tenant, GET /tenants, GET and PUT /tenant/{id}."""

import httpx
import pytest

from tests.api.serving import Api, Json

FULL: Json = {
    "id": "acme",
    "name": "Acme Ltd",
    "client_auth": {"method": "basic", "user": "u", "password": "sesame"},
    "callback_secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "client_base_url": "https://acme.test/app",
    "client_sync_path": "/sync",
    "rate_limits": {"hourly": 10, "daily": 100},
    "large_file_config": {
        "enabled": True,
        "max_size_mb": 10,
        "storage_url": "s3://files/acme",
        "action": "rewrite",
    },
    "keep_content_days": 2,
}


async def test_a_new_tenant_gets_a_key_that_works(bare: Api, admin: httpx.AsyncClient) -> None:
    body = (await admin.post("/tenant", json={"id": "acme"})).json()
    key = body.pop("api_key")
    assert body == {"ok": True}
    assert len(key) == 43
    assert (await bare.client(key).get("/tenant/acme")).json()["name"] == "acme"


async def test_a_tenant_that_exists_is_changed_and_gets_no_key(
    api: Api, admin: httpx.AsyncClient
) -> None:
    answer = await admin.post("/tenant", json={"id": "acme", "name": "New"})
    assert answer.json() == {"ok": True}
    assert (await admin.get("/tenant/acme")).json()["name"] == "New"
    assert (await api.client(api.keys["acme"]).get("/status")).status_code == 200


async def test_a_tenant_is_shown_as_it_was_given_without_its_secrets(
    admin: httpx.AsyncClient,
) -> None:
    await admin.post("/tenant", json=FULL)
    answer = await admin.get("/tenant/acme")
    shown = answer.json()
    for name in ("id", "name", "client_base_url", "rate_limits", "large_file_config"):
        assert shown[name] == FULL[name]
    assert shown["client_auth"] == {"method": "basic", "user": "u"}
    assert "sesame" not in answer.text
    assert "whsec" not in answer.text
    assert "ok" not in shown


async def test_the_secrets_are_kept_for_calling_back(api: Api, admin: httpx.AsyncClient) -> None:
    await admin.post("/tenant", json=FULL)
    tenant = await api.services.tenants.find("acme")
    assert tenant is not None
    assert tenant.client_auth == FULL["client_auth"]
    assert tenant.callback_secret == "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


async def test_put_changes_only_what_is_given(api: Api, admin: httpx.AsyncClient) -> None:
    await admin.post("/tenant", json=FULL)
    assert (await admin.put("/tenant/acme", json={"name": "New"})).json() == {"ok": True}
    tenant = await api.services.tenants.find("acme")
    assert tenant is not None
    assert (tenant.name, tenant.keep_content_days) == ("New", 2)
    assert tenant.client_auth == FULL["client_auth"]
    await admin.put("/tenant/acme", json={"client_auth": None})
    tenant = await api.services.tenants.find("acme")
    assert tenant is not None
    assert tenant.client_auth is None


async def test_a_tenant_may_change_itself_but_not_what_its_operator_set(
    acme: httpx.AsyncClient,
) -> None:
    assert (await acme.put("/tenant/acme", json={"name": "New"})).status_code == 200
    for name, value in (("active", True), ("weight", 9), ("rate_limits", None)):
        assert (await acme.put("/tenant/acme", json={name: value})).status_code == 403


async def test_tenants_are_listed(api: Api, admin: httpx.AsyncClient) -> None:
    await admin.put("/tenant/rival", json={"active": False})
    body = (await admin.get("/tenants")).json()
    assert body["ok"] is True
    assert [t["id"] for t in body["tenants"]] == ["acme", "rival"]
    active = (await admin.get("/tenants", params={"active_only": "true"})).json()
    assert [t["id"] for t in active["tenants"]] == ["acme"]
    page = (await admin.get("/tenants", params={"limit": "1"})).json()
    rest = await admin.get("/tenants", params={"cursor": page["next_cursor"]})
    assert [t["id"] for t in rest.json()["tenants"]] == ["rival"]


async def test_an_inactive_tenant_takes_no_mail(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    await admin.put("/tenant/acme", json={"active": False})
    message = {
        "id": "m",
        "account_id": "main",
        "from": "a@b.test",
        "to": "c@d.test",
        "subject": "s",
    }
    answer = await acme.post("/commands/add-messages", json={"messages": [message]})
    assert answer.status_code == 400


async def test_a_tenant_that_is_not_understood_is_422(admin: httpx.AsyncClient) -> None:
    for change in (
        {"id": "a b"},
        {"id": "acme\n"},
        {"id": "x" * 65},
        {"id": ""},
        {"active": "yes"},
        {"client_base_url": "ftp://acme.test"},
        {"client_base_url": "https://u:p@acme.test"},
        {"client_base_url": "https://acme.test/\r\nX: y"},
        {"client_base_url": "http://[::1"},
        {"client_auth": {"method": "bearer"}},
        {"client_auth": {"method": "magic"}},
        {"rate_limits": {"hourly": -1}},
        {"large_file_config": {"action": "explode"}},
        {"weight": 0},
    ):
        answer = await admin.post("/tenant", json={**FULL, **change})
        assert answer.status_code == 422, change
        assert answer.json()["detail"][0]["loc"][:2] == ["body", *change]
        assert "sesame" not in answer.text


@pytest.mark.parametrize("wish", ["auto", "smtp", "always", "never", None])
async def test_the_setting_for_notifications_is_kept(
    admin: httpx.AsyncClient, wish: str | None
) -> None:
    await admin.post("/tenant", json={"id": "acme", "dsn": wish})
    assert (await admin.get("/tenant/acme")).json()["dsn"] == wish


@pytest.mark.parametrize("wish", ["sometimes", "", "Always", True])
async def test_another_value_for_notifications_is_refused(
    admin: httpx.AsyncClient, wish: object
) -> None:
    answer = await admin.post("/tenant", json={"id": "acme", "dsn": wish})
    assert answer.status_code == 422
    assert "dsn" in answer.text
