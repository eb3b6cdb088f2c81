"""The contract, for a mail that came by SMTP and for one that came by REST."""

import asyncio
import email
import email.policy
import smtplib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.running import RunningNode, running
from relay.config import Config, ensure_secrets
from tests.fakes.client import FakeClient
from tests.fakes.upstream import FakeUpstream
from tests.process import KEY, TOKEN
from tests.scenarios.conftest import QUICK
from tests.waiting import until

Json = dict[str, Any]
OF_ACME = {"tenant_id": "acme"}
LOGIN = ("shop", "a password of the shop")
METADATA = '{"order": 4711}'


class Door:
    """A running node as its users meet it, and one way to give it mail."""

    def __init__(self, node: RunningNode, rest: httpx.AsyncClient, way: str) -> None:
        self._node = node
        self._way = way
        self.rest = rest

    async def give(
        self, message_id: str, *, batch: str = "", deliver_at: int = 0, body: str = "hello"
    ) -> None:
        """Give a mail with this id, a batch code and metadata; raise when it is not taken."""
        if self._way == "rest":
            await self._give_by_rest(message_id, batch, deliver_at, body)
        else:
            await asyncio.to_thread(self._give_by_smtp, message_id, batch, deliver_at, body)

    async def _give_by_rest(self, message_id: str, batch: str, deliver_at: int, body: str) -> None:
        message = {
            "id": message_id,
            "tenant_id": "acme",
            "from": "shop@acme.test",
            "to": "bob@there.test",
            "subject": "Grüße",
            "body": body,
            "batch_code": batch or None,
            "deferred_ts": deliver_at or None,
            "metadata": {"order": 4711},
        }
        answer = await self.rest.post("/commands/add-messages", json={"messages": [message]})
        assert answer.json()["queued"] == 1, answer.text

    def _give_by_smtp(self, message_id: str, batch: str, deliver_at: int, body: str) -> None:
        text = (
            "From: shop@acme.test\r\nTo: bob@there.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
            f"X-Pillarbox-Id: {message_id}\r\nX-Pillarbox-Metadata: {METADATA}\r\n"
            + (f"X-Pillarbox-Batch: {batch}\r\n" if batch else "")
            + (f"X-Pillarbox-Deliver-At: {deliver_at}\r\n" if deliver_at else "")
            + f"\r\n{body}\r\n"
        )
        _, host, port = self._node.node.smtp.addresses[0]
        with smtplib.SMTP(host, port, timeout=10) as client:
            client.login(*LOGIN)
            client.sendmail("shop@acme.test", ["bob@there.test"], text.encode())

    async def record(self, message_id: str) -> Json:
        answer = await self.rest.get(f"/messages/{message_id}", params=OF_ACME)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def reaches(self, message_id: str, status: str) -> Json:
        async def reached() -> bool:
            return bool((await self.record(message_id))["status"] == status)

        await until(reached)
        return await self.record(message_id)

    async def order(self, command: str, *ids: str) -> Json:
        url = f"/commands/{command}-messages"
        answer = await self.rest.post(url, params=OF_ACME, json={"ids": list(ids)})
        assert answer.status_code == 200, answer.text
        done: Json = answer.json()
        return done

    async def command(self, name: str, **query: str) -> Json:
        answer = await self.rest.post(f"/commands/{name}", params={**OF_ACME, **query})
        assert answer.status_code == 200, answer.text
        done: Json = answer.json()
        return done


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with FakeClient() as server:
        yield server


@pytest.fixture(params=["smtp", "rest"])
async def door(
    request: pytest.FixtureRequest,
    database_url: str,
    tmp_path: Path,
    upstream: FakeUpstream,
    client: FakeClient,
) -> AsyncIterator[Door]:
    config = Config.load(
        home=tmp_path / "home",
        name="default",
        environ={"PILLARBOX_ENCRYPTION_KEY": KEY, "PILLARBOX_API_TOKEN": TOKEN},
        overrides={
            **QUICK,
            "http.listen": "127.0.0.1:0",
            "database.url": database_url,
            "callback.poll_s": 0.05,
        },
    )
    async with (
        running(ensure_secrets(config)) as node,
        httpx.AsyncClient(
            base_url=node.http_url, headers={"X-API-Token": TOKEN}, trust_env=False, timeout=10
        ) as rest,
    ):
        door = Door(node, rest, request.param)
        for path, body in (
            ("/tenant", {"id": "acme", "client_base_url": client.url, "keep_content_days": 1}),
            (
                "/account",
                {**OF_ACME, "id": "main", "host": "127.0.0.1", "port": upstream.port},
            ),
            ("/credential", {**OF_ACME, "username": LOGIN[0], "password": LOGIN[1]}),
        ):
            answer = await rest.post(path, json=body)
            assert answer.status_code == 200, answer.text
        yield door


async def test_it_is_delivered_recorded_and_reported(
    door: Door, upstream: FakeUpstream, client: FakeClient
) -> None:
    await door.give("m1", batch="spring")
    record = await door.reaches("m1", "sent")
    assert (record["batch_code"], record["metadata"]) == ("spring", {"order": 4711})
    assert record["sent_ts"] is not None
    assert record["error_ts"] is None
    assert [(r["address"], r["status"], r["attempts"]) for r in record["recipients"]] == [
        ("bob@there.test", "sent", 1)
    ]
    (received,) = await upstream.wait_for(1)
    mail = email.message_from_bytes(received.content, policy=email.policy.default)
    assert (mail["subject"], mail.get_content().strip()) == ("Grüße", "hello")
    assert "X-Pillarbox-Metadata" not in mail
    await client.wait_for(lambda c: any(e.get("id") == "m1" for e in c.entries))
    entry = next(e for e in client.entries if e["id"] == "m1")
    assert entry["pk"] == record["pk"]
    assert entry["metadata"] == {"order": 4711}
    assert abs(entry["sent_ts"] - record["sent_ts"]) <= 1


@pytest.mark.parametrize("size", [1, 50_000], ids=["small", "large"])
async def test_lines_that_begin_with_a_dot_arrive_as_they_were_given(
    door: Door, upstream: FakeUpstream, size: int
) -> None:
    for number, body in enumerate([".\r\n..\r\n.x", "no dot", "x\r\n\r\n."]):
        await door.give(f"m{number}", body="filled\r\n" * size + body)
        received = (await upstream.wait_for(number + 1))[number]
        assert received.content.endswith(b"filled\r\n" + body.encode() + b"\r\n")


async def test_it_is_listed_by_each_filter_and_shown_as_it_was_sent(door: Door) -> None:
    await door.give("m1", batch="spring")
    await door.reaches("m1", "sent")
    for query in (
        {"status": "sent"},
        {"batch_code": "spring"},
        {"recipient": "bob@there.test"},
        {"since": "1"},
    ):
        listed = (await door.rest.get("/messages", params={**OF_ACME, **query})).json()["messages"]
        assert [m["id"] for m in listed] == ["m1"], query
    content = await door.rest.get("/messages/m1/content", params=OF_ACME)
    assert content.headers["content-type"] == "message/rfc822"
    assert content.content.endswith(b"\r\n\r\nhello\r\n")


async def test_the_same_id_again_replaces_what_waits_and_is_refused_once_sent(
    door: Door, upstream: FakeUpstream
) -> None:
    await door.command("suspend")
    await door.give("m1")
    await door.give("m1")
    await door.command("activate")
    await door.reaches("m1", "sent")
    assert len(upstream.received) == 1
    with pytest.raises((AssertionError, smtplib.SMTPDataError), match="already sent"):
        await door.give("m1")


async def test_it_is_suspended_with_its_batch_and_resumes(
    door: Door, upstream: FakeUpstream
) -> None:
    await door.command("suspend", batch_code="spring")
    await door.give("m1", batch="spring")
    await door.give("m2", batch="summer")
    await door.reaches("m2", "sent")
    record = await door.record("m1")
    assert (record["status"], record["deferred_ts"]) == ("suspended", None)
    assert (await door.command("activate", batch_code="spring"))["suspended_batches"] == []
    await door.reaches("m1", "sent")


async def test_it_waits_for_its_time_and_can_be_cancelled(door: Door) -> None:
    at = int(time.time()) + 86_400
    await door.give("m1", deliver_at=at)
    record = await door.record("m1")
    assert (record["status"], record["deferred_ts"]) == ("scheduled", at)
    assert (await door.order("cancel", "m1"))["count"] == 1
    assert (await door.record("m1"))["status"] == "cancelled"


async def test_it_can_be_held_released_retried_and_deleted(
    door: Door, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = "4.2.1 later"
    await door.give("m1")
    await door.reaches("m1", "deferred")
    await door.order("hold", "m1")
    assert (await door.record("m1"))["status"] == "suspended"
    upstream.on.clear()
    await door.order("release", "m1")
    await door.order("retry", "m1")
    await door.reaches("m1", "sent")
    answer = await door.rest.post("/commands/delete-messages", params=OF_ACME, json={"ids": ["m1"]})
    assert answer.json()["removed"] == 1
    assert (await door.rest.get("/messages/m1", params=OF_ACME)).status_code == 404


async def test_a_failure_is_recorded_and_reported_in_the_upstreams_words(
    door: Door, upstream: FakeUpstream, client: FakeClient
) -> None:
    upstream.on["RCPT"] = "550 5.1.1 nobody here"
    await door.give("m1")
    record = await door.reaches("m1", "failed")
    assert "nobody here" in record["error"]
    await client.wait_for(lambda c: any("error_ts" in e for e in c.entries))
    entry = next(e for e in client.entries if "error_ts" in e)
    assert (entry["id"], entry["code"]) == ("m1", 550)
    assert "nobody here" in entry["error"]
    feed = (await door.rest.get("/events", params=OF_ACME)).json()["events"]
    assert [e["event_id"] for e in feed] == [entry["event_id"]]
