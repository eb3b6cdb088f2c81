"""POST /account/{id}/verify, against real sockets."""

from pathlib import Path

import httpx
import trustme

from tests.api.serving import Json
from tests.fakes.upstream import FakeUpstream

OF_ACME = {"tenant_id": "acme"}
LOGIN = {"user": "u", "password": "sesame"}


async def verified(client: httpx.AsyncClient, **account: object) -> Json:
    made = await client.post("/account", json={"id": "new", "host": "127.0.0.1", **account})
    assert made.status_code == 200, made.text
    answer = await client.post("/account/new/verify", params=OF_ACME)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def marks(body: Json) -> dict[str, bool | None]:
    return {step["step"]: step["ok"] for step in body["steps"]}


async def test_each_step_that_works_is_named_in_its_order(
    acme: httpx.AsyncClient, tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with FakeUpstream(ca=ca, starttls=True, users={"u": "sesame"}) as upstream:
        body = await verified(acme, port=upstream.port, ca_file=str(tmp_path / "ca.pem"), **LOGIN)
        await upstream.wait_until_closed()
    assert body["ok"] is True
    assert list(marks(body).items()) == [
        ("connect", True),
        ("ehlo", True),
        ("tls", True),
        ("auth", True),
    ]
    assert body["steps"][2]["detail"].startswith("TLSv1.")
    assert upstream.received == []


async def test_a_wrong_password_fails_the_last_step_and_is_not_shown(
    acme: httpx.AsyncClient,
) -> None:
    async with FakeUpstream(users={"u": "other"}) as upstream:
        body = await verified(acme, port=upstream.port, use_tls=False, **LOGIN)
    assert (body["ok"], marks(body)["auth"]) == (False, False)
    assert body["steps"][3]["detail"].startswith("535")
    assert "sesame" not in str(body)


async def test_starttls_that_is_needed_and_not_offered_ends_before_the_login(
    acme: httpx.AsyncClient,
) -> None:
    async with FakeUpstream(users={"u": "sesame"}) as upstream:
        body = await verified(acme, port=upstream.port, **LOGIN)
    assert upstream.logins == []
    assert marks(body) == {"connect": True, "ehlo": True, "tls": False, "auth": None}


async def test_a_server_that_is_not_there_fails_the_first_step(acme: httpx.AsyncClient) -> None:
    async with FakeUpstream() as upstream:
        port = upstream.port
    body = await verified(acme, port=port)
    assert (body["ok"], marks(body)["connect"], marks(body)["auth"]) == (False, False, None)


async def test_what_is_not_asked_for_is_not_a_failure(acme: httpx.AsyncClient) -> None:
    async with FakeUpstream() as upstream:
        body = await verified(acme, port=upstream.port)
    assert (body["ok"], marks(body)["tls"], marks(body)["auth"]) == (True, None, None)
    assert (await verified(acme, kind="capture"))["ok"] is True


async def test_an_account_that_is_not_there_is_404(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    answer = await acme.post("/account/none/verify", params=OF_ACME)
    assert (answer.status_code, answer.json()) == (404, {"detail": "account not found"})
