"""Idempotency-Key, for add-messages and messages/raw."""

import asyncio
from typing import Any

import httpx

from relay.ingress.submission import Origin, Submission
from relay.model import Credential, Ingress, Recipient, SecretKind
from relay.store.queue import once
from relay.store.spool import Spool
from tests.api.serving import Api, Json, Message
from tests.api.test_messages import MAIL, RAW, RFC822
from tests.store.conftest import new_spool

PATH = "/commands/add-messages"


async def call(client: httpx.AsyncClient, key: str, *messages: Json, **more: Any) -> httpx.Response:
    body = {"messages": list(messages), **more}
    return await client.post(PATH, json=body, headers={"Idempotency-Key": key})


async def count(api: Api, table: str = "messages") -> int:
    rows = await api.services.database.fetch(f"SELECT COUNT(*) AS n FROM {table}")
    return int(rows[0]["n"])


async def test_the_same_call_again_gets_the_first_answer_again(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    items = [message(id="m1"), message(id="m2", to="nonsense")]
    first = await call(acme, "k1", *items, colour="red")
    again = await call(acme, "k1", *items, colour="red")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert first.json()["queued"] == 1
    assert first.json()["warnings"] == ["colour"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await count(api) == 1


async def test_the_same_key_for_another_body_is_422(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await call(acme, "k1", message(id="m1"))
    other = await call(acme, "k1", message(id="m2"))
    assert other.status_code == 422
    assert "idempotency key" in other.json()["detail"]
    assert await count(api) == 1


async def test_fifty_calls_at_once_are_one_message(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    answers = await asyncio.gather(*(call(acme, "k1", message(id="m1")) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (await count(api), await count(api, "events")) == (1, 1)


async def test_calls_at_once_with_other_bodies_store_one_of_them(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    calls = (call(acme, "k1", message(id=f"m{n}")) for n in range(10))
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
    assert statuses == [200] + [422] * 9
    assert await count(api) == 1


async def test_a_key_is_the_callers_own(
    api: Api,
    admin: httpx.AsyncClient,
    acme: httpx.AsyncClient,
    rival: httpx.AsyncClient,
    message: Message,
) -> None:
    for client, tenant_id in ((acme, "acme"), (rival, "rival"), (admin, "acme")):
        answer = await call(client, "k1", message(id=str(id(client)), tenant_id=tenant_id))
        assert answer.json()["queued"] == 1
    assert await count(api) == 3


async def test_a_call_that_queued_nothing_does_not_use_up_its_key(
    acme: httpx.AsyncClient, message: Message
) -> None:
    item = message(account_id="later")
    assert (await call(acme, "k1", item)).status_code == 400
    account = {"id": "later", "host": "up.test", "port": 25}
    await acme.post("/account", json=account)
    assert (await call(acme, "k1", item)).json()["queued"] == 1


async def test_a_raw_mail_is_taken_once(api: Api, acme: httpx.AsyncClient) -> None:
    headers = {**RFC822, "Idempotency-Key": "k1"}
    first, again = [
        await acme.post("/messages/raw", params=RAW, content=MAIL, headers=headers)
        for _ in range(2)
    ]
    assert first.json() == again.json()
    assert await count(api) == 1
    elsewhere = {**RAW, "to": "other@there.test"}
    other = await acme.post("/messages/raw", params=elsewhere, content=MAIL, headers=headers)
    assert other.status_code == 422


def by_smtp(key: str) -> Submission:
    return Submission(
        tenant_id="acme",
        sender="a@acme.test",
        recipients=(Recipient(0, "x@there.test"),),
        content=f"X-Pillarbox-Idempotency-Key: {key}\r\nSubject: hello\r\n\r\n".encode(),
        ingress=Ingress.SMTP,
        origin=Origin("ESMTPA"),
        credential=Credential("login", "acme", SecretKind.SHA256, ""),
        account_id="main",
    )


async def test_a_mail_that_brings_its_key_by_smtp_is_taken_once(
    api: Api, acme: httpx.AsyncClient
) -> None:
    accept = api.services.door.accept
    answers = await asyncio.gather(*(accept(by_smtp("k1")) for _ in range(20)))
    assert len({answer.pk for answer in answers}) == 1
    assert (await accept(by_smtp("k1"))).pk == answers[0].pk
    assert (await accept(by_smtp("k2"))).pk != answers[0].pk
    assert await count(api) == 2
    pk = answers[0].pk
    content = (await acme.get(f"/messages/{pk}/content", params={"tenant_id": "acme"})).content
    assert b"Idempotency" not in content


async def test_keys_of_smtp_and_of_rest_are_apart(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await api.services.door.accept(by_smtp("k1"))
    assert (await call(acme, "k1", message())).json()["queued"] == 1


async def test_a_key_that_is_none_is_422(acme: httpx.AsyncClient, message: Message) -> None:
    for key in ("", "x" * 256, "two\twords"):
        assert (await call(acme, key, message())).status_code == 422


async def test_a_key_is_forgotten_in_time(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await call(acme, "k1", message(id="m1"))
    now = api.services.database.now()
    await api.services.database.write(lambda: once.forget(now - 86_400))
    assert await count(api, "idempotency_keys") == 1
    await api.services.database.write(lambda: once.forget(now + 1))
    assert (await call(acme, "k1", message(id="m2"))).json()["queued"] == 1


async def test_a_key_is_one_for_all_nodes(
    api: Api, acme: httpx.AsyncClient, message: Message, spool: Spool
) -> None:
    other = new_spool(api.services.database, "node-2")
    await other.start()
    assert api.services.database is other.database
    answers = await asyncio.gather(
        *(
            node.accept_once([], once.Once("acme", "rest", "k1", "f", lambda _answers: "text"))
            for node in [spool, other] * 10
        )
    )
    await other.close()
    assert sum(answer == [] for answer in answers) == 1
    assert sum(answer == once.Repeat("text") for answer in answers) == 19
