"""What a tenant may give us: rate_limits, and how much may wait."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from relay.errors import OverQuota
from relay.ingress.accept import Door
from relay.ingress.backlog import Backlog, Bounds
from relay.ingress.smtp.replies import reply_for
from relay.ingress.submission import Origin, Submission
from relay.model import Ingress, Recipient
from relay.store.spool import Spool
from tests.api.serving import Api, Message
from tests.store.conftest import new_spool, put


async def limit(admin: httpx.AsyncClient, **limits: int) -> None:
    answer = await admin.put("/tenant/acme", json={"rate_limits": limits})
    assert answer.status_code == 200


async def add(
    client: httpx.AsyncClient, message: Message, *ids: str, **more: Any
) -> httpx.Response:
    messages = [message(id=name, **more) for name in ids]
    return await client.post("/commands/add-messages", json={"messages": messages})


async def test_what_is_over_the_quota_is_rejected_and_the_rest_queued(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, api: Api, message: Message
) -> None:
    await limit(admin, hourly=3, daily=100)
    body = (await add(acme, message, "m1", "m2", "m3", "m4")).json()
    assert (body["queued"], body["rejected"]) == (3, [{"id": "m4", "reason": "quota exceeded"}])


async def test_nothing_but_over_the_quota_is_429_and_says_when_to_come_back(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, api: Api, message: Message
) -> None:
    await limit(admin, hourly=1)
    await add(acme, message, "m1")
    answer = await add(acme, message, "m2")
    assert answer.status_code == 429
    assert answer.json()["detail"]["rejected"] == [{"id": "m2", "reason": "quota exceeded"}]
    assert 3500 < int(answer.headers["Retry-After"]) <= 3602


async def test_correcting_a_mail_that_waits_does_not_count(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, api: Api, message: Message
) -> None:
    await limit(admin, daily=1)
    await add(acme, message, "m1")
    assert (await add(acme, message, "m1", subject="new")).json()["queued"] == 1


async def test_a_quota_of_nothing_takes_nothing(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, api: Api, message: Message
) -> None:
    await limit(admin, hourly=0)
    answer = await add(acme, message, "m1")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


async def test_another_tenant_has_a_quota_of_its_own(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    await limit(admin, hourly=0)
    assert (await add(rival, message, "m1", tenant_id="rival")).json()["queued"] == 1


async def test_nodes_share_a_quota(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, spool: Spool
) -> None:
    await limit(admin, hourly=10)
    other = new_spool(api.services.database, "node-2")
    await other.start()
    given = (put(node) for node in [spool, other] * 20)
    answers = await asyncio.gather(*given, return_exceptions=True)
    await other.close()
    refused = [answer for answer in answers if isinstance(answer, OverQuota)]
    assert len(answers) - len(refused) == 10


async def test_an_smtp_client_is_told_to_come_back(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    await limit(admin, hourly=0)
    submission = Submission(
        tenant_id="acme",
        sender="a@acme.test",
        recipients=(Recipient(0, "x@there.test"),),
        content=b"Subject: hello\r\n\r\nhi\r\n",
        ingress=Ingress.SMTP,
        origin=Origin("ESMTPA"),
        account_id="main",
    )
    door: Door = api.services.door
    with pytest.raises(OverQuota) as refused:
        await door.accept(submission)
    assert reply_for(refused.value).startswith("452 4.7.0 ")
    await limit(admin)
    assert (await door.accept(replace(submission))).pk


async def test_only_so_much_may_wait(api: Api, acme: httpx.AsyncClient, spool: Spool) -> None:
    now = [0.0]
    backlog = Backlog(api.services.database, Bounds(messages=3), lambda: now[0])
    await put(spool)
    for _ in range(2):
        await backlog.enter("acme", 1)
    with pytest.raises(OverQuota) as refused:
        await backlog.enter("acme", 1)
    assert reply_for(refused.value).startswith("452 4.3.1 ")
    await backlog.enter("rival", 1)
    now[0] = 10.0
    await backlog.enter("acme", 1)


async def test_only_so_many_bytes_may_wait(
    api: Api, acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    now = [0.0]
    backlog = Backlog(api.services.database, Bounds(size_bytes=10_000), lambda: now[0])
    await add(acme, message, "m1", body="x" * 4000)
    await backlog.enter("acme", 5000)
    with pytest.raises(OverQuota):
        await backlog.enter("acme", 2000)
    await backlog.enter("rival", 2000)
    now[0] = 10.0
    await backlog.enter("acme", 2000)


def test_who_was_refused_a_moment_ago_is_refused_before_the_content_is_sent(api: Api) -> None:
    now = [0.0]
    backlog = Backlog(api.services.database, Bounds(), lambda: now[0])
    backlog.check("acme")
    backlog.note("acme", OverQuota("enough", wait_s=60, enhanced="4.3.1"))
    with pytest.raises(OverQuota):
        backlog.check("acme")
    backlog.check("rival")
    now[0] = 10.0
    backlog.check("acme")


async def test_any_number_may_wait_where_no_limit_is_set(api: Api) -> None:
    backlog = Backlog(api.services.database, Bounds(), lambda: 0.0)
    for _ in range(100):
        await backlog.enter("acme", 10**9)
