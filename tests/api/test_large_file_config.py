"""large_file_config: checked, sealed, shown without its secrets."""

import httpx
import pytest

from tests.api.serving import Api, Json

GOOD: Json = {
    "enabled": True,
    "max_size_mb": 2.5,
    "storage_url": "s3://files/acme",
    "public_base_url": "https://mail.acme.test",
    "file_ttl_days": 30,
    "action": "rewrite",
}
LOGIN = "s3://AKIA1:se%2Fcret@files/acme?endpoint=https://s3.test"


async def put(client: httpx.AsyncClient, config: Json | None) -> httpx.Response:
    return await client.put("/tenant/acme", json={"large_file_config": config})


async def shown(client: httpx.AsyncClient) -> Json | None:
    config: Json | None = (await client.get("/tenant/acme")).json()["large_file_config"]
    return config


AS_GIVEN: tuple[Json | None, ...] = (
    GOOD,
    {"enabled": False},
    {"enabled": True},
    {"enabled": True, "action": "warn", "max_size_mb": 1},
    {"enabled": True, "action": "reject"},
    {"enabled": False, "action": "rewrite"},
    {**GOOD, "storage_url": "file:///var/lib/files"},
    {**GOOD, "storage_url": "gs://bucket"},
    {**GOOD, "storage_url": "az://account@container/folder"},
    {**GOOD, "storage_url": "s3://bucket/a%20b", "public_base_url": None},
    None,
)
REFUSED: tuple[tuple[Json, str], ...] = (
    ({"storage_url": None}, "storage_url: rewrite needs a place"),
    ({"storage_url": "ftp://x/y"}, "s3://, gs://, az:// or file://"),
    ({"storage_url": "bucket"}, "s3://, gs://, az:// or file://"),
    ({"storage_url": "s3://"}, "the name of a bucket"),
    ({"storage_url": "s3://b cket/x"}, "the name of a bucket"),
    ({"storage_url": "s3://user@bucket"}, "user:secret@"),
    ({"storage_url": "s3://k:sesame/x@bucket/y"}, "the name of a bucket"),
    ({"storage_url": "gs://u:sesame@bucket"}, "service_account_key"),
    ({"storage_url": "s3://bucket?acl=public"}, "no option acl"),
    ({"storage_url": "s3://bucket?endpoint=ftp://x"}, "endpoint"),
    ({"storage_url": "s3://bucket?region=a&region=b"}, "given twice"),
    ({"storage_url": "file://host/x"}, "an absolute folder"),
    ({"storage_url": "file:files"}, "an absolute folder"),
    ({"storage_url": "file:///"}, "an absolute folder"),
    ({"storage_url": "file:///a/../etc"}, "an absolute folder"),
    ({"storage_url": "file:///a", "public_base_url": None}, "public_base_url"),
    ({"public_base_url": "mail.acme.test"}, "http"),
    ({"max_size_mb": 0}, "greater than 0"),
    ({"file_ttl_days": -1}, "greater than 0"),
    ({"action": "explode"}, "warn"),
)


async def test_it_is_shown_as_it_was_given(api: Api, admin: httpx.AsyncClient) -> None:
    for config in AS_GIVEN:
        assert (await put(admin, config)).status_code == 200, config
        assert await shown(admin) == config


async def test_what_cannot_work_is_refused_with_a_reason(
    api: Api, admin: httpx.AsyncClient
) -> None:
    for change, says in REFUSED:
        answer = await put(admin, {**GOOD, **change})
        assert answer.status_code == 422, change
        assert says in answer.text
        assert "sesame" not in answer.text
    assert await shown(admin) is None


async def test_a_login_in_the_url_is_never_shown_nor_stored_readable(
    api: Api, admin: httpx.AsyncClient
) -> None:
    await put(admin, {**GOOD, "storage_url": LOGIN})
    config = await shown(admin)
    assert config == {**GOOD, "storage_url": "s3://AKIA1:***@files/acme?endpoint=https://s3.test"}
    rows = await api.services.database.fetch("SELECT large_file_config FROM tenants")
    assert not any("cret" in str(row[0]) or "AKIA1" in str(row[0]) for row in rows)


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_was_shown_may_be_given_back(
    api: Api, admin: httpx.AsyncClient, method: str
) -> None:
    await put(admin, {**GOOD, "storage_url": LOGIN})
    config = await shown(admin)
    assert config
    body = {"large_file_config": {**config, "max_size_mb": 7}}
    if method == "PUT":
        answer = await admin.put("/tenant/acme", json=body)
    else:
        answer = await admin.post("/tenant", json={"id": "acme", **body})
    assert answer.status_code == 200
    tenant = await api.services.tenants.find("acme")
    assert tenant
    assert tenant.large_file_config == {**GOOD, "storage_url": LOGIN, "max_size_mb": 7}


async def test_a_tenant_may_change_what_is_done_but_not_where_files_go(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    assert (await put(acme, {"enabled": True, "action": "reject"})).status_code == 200
    assert (await put(acme, {**GOOD, "storage_url": "file:///etc"})).status_code == 403
    assert (await put(acme, GOOD)).status_code == 403
    await put(admin, {**GOOD, "storage_url": LOGIN})
    mine = await shown(acme)
    assert mine
    assert (await put(acme, {**mine, "action": "warn"})).status_code == 200
    assert (await put(acme, {**mine, "storage_url": "s3://other"})).status_code == 403
    assert (await put(acme, None)).status_code == 200
