"""Senders who came by SMTP are told by mail what became of theirs (RFC 3461, RFC 3464)."""

import asyncio
from email.message import Message
from pathlib import Path
from typing import cast

import pytest

from relay.formats.bounce.model import Kind
from relay.formats.bounce.read import read_bounce
from relay.model import DsnWish
from tests.fakes.client import FakeClient
from tests.fakes.upstream import EXTENSIONS, FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.notified import (
    CONTENT,
    GONE,
    SENDER,
    no_report,
    notifications,
    one_report,
    prepared,
    report,
    send,
)
from tests.waiting import until

NO_DSN = tuple(name for name in EXTENSIONS if name != "DSN")


@pytest.fixture
async def acme(relay: Relay, upstream: FakeUpstream) -> Relay:
    return await prepared(relay, upstream)


async def test_the_failure_of_one_of_three_is_told_at_once(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    pk = await send(acme, "amy@there.test", "bob@there.test", "cid@there.test")
    told = await one_report(upstream, after=1)
    assert list(told.groups) == ["bob@there.test"]
    group = told.groups["bob@there.test"]
    assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert group["Remote-MTA"] == "dns; 127.0.0.1"
    assert told.about["X-Pillarbox-Queue-Id"] == pk
    assert told.mail["Auto-Submitted"] == "auto-replied"
    assert told.mail["References"] == "<m1@acme.test>"
    found = read_bounce(told.raw)
    assert found is not None
    assert found.kind is Kind.HARD


async def test_all_that_failed_are_in_one_notification(acme: Relay, upstream: FakeUpstream) -> None:
    upstream.on["RCPT"] = lambda moment: None if moment.argument == SENDER else GONE
    pk = await send(acme, "amy@there.test", "bob@there.test", "cid@there.test")
    await acme.settled(pk, "failed", "failed", "failed")
    told = await one_report(upstream)
    assert list(told.groups) == ["amy@there.test", "bob@there.test", "cid@there.test"]
    assert len(await notifications(acme)) == 1


async def test_it_is_listed_as_a_mail_of_the_tenant_that_says_what_it_is_about(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    pk = await send(acme, "bob@there.test")
    await one_report(upstream)
    [dsn] = await notifications(acme)
    view = await acme.settled(dsn, "sent")
    assert view.tenant_id == "acme"
    assert view.ingress == "dsn"
    assert view.sender == ""
    assert f'"dsn_of": {{"pk": "{pk}", "id": "{pk}"}}' in view.record


async def test_mail_that_expires_is_told_of(acme: Relay, upstream: FakeUpstream) -> None:
    upstream.on["RCPT"] = {"bob@there.test": "450 4.7.1 greylisted"}
    content = f"X-Pillarbox-Expires-In: 0.5\r\n{CONTENT}"
    await send(acme, "bob@there.test", content=content)
    told = await one_report(upstream)
    group = told.groups["bob@there.test"]
    assert (group["Action"], group["Status"]) == ("failed", "4.7.1")
    assert group["Diagnostic-Code"] == "smtp; 450 4.7.1 greylisted"


async def test_our_own_refusal_is_told_of_as_our_own(relay: Relay) -> None:
    async with FakeUpstream(extensions=("PIPELINING", "SIZE 4000")) as upstream:
        await prepared(relay, upstream)
        await send(relay, "bob@there.test", content=CONTENT + "a line of text\r\n" * 400)
        told = await one_report(upstream)
        group = told.groups["bob@there.test"]
        assert group["Diagnostic-Code"].startswith("X-Pillarbox; 552 5.3.4 the upstream takes")
        assert group["Status"] == "5.3.4"
        assert group["Remote-MTA"] is None


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY", "SUCCESS,DELAY"])
async def test_notify_can_ask_for_no_word_of_failures(
    acme: Relay, upstream: FakeUpstream, notify: str
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    pk = await send(acme, "bob@there.test", notify={"bob@there.test": f"NOTIFY={notify}"})
    await acme.settled(pk, "failed")
    await no_report(acme, upstream)


async def test_notify_is_of_each_recipient(acme: Relay, upstream: FakeUpstream) -> None:
    upstream.on["RCPT"] = lambda moment: None if moment.argument == SENDER else GONE
    notify = {"amy@there.test": "NOTIFY=NEVER", "bob@there.test": "NOTIFY=failure"}
    await send(acme, "amy@there.test", "bob@there.test", notify=notify)
    assert list((await one_report(upstream)).groups) == ["bob@there.test"]


async def test_envid_and_orcpt_come_back_as_they_were_meant(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    notify = {"bob@there.test": "ORCPT=rfc822;Bob+2BNews@There.Test"}
    await send(acme, "bob@there.test", notify=notify, options=("ENVID=Q+2B1", "RET=HDRS"))
    told = await one_report(upstream)
    assert told.about["Original-Envelope-Id"] == "Q+1"
    group = told.groups["bob@there.test"]
    assert group["Original-Recipient"] == "rfc822;Bob+News@There.Test"


@pytest.mark.parametrize(
    ("ret", "kind"), [("FULL", "message/rfc822"), ("HDRS", "text/rfc822-headers")]
)
async def test_ret_says_how_much_of_the_mail_comes_back(
    acme: Relay, upstream: FakeUpstream, ret: str, kind: str
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    await send(acme, "bob@there.test", options=(f"RET={ret}",))
    told = await one_report(upstream)
    last = cast("list[Message]", told.mail.get_payload())[2]
    assert last.get_content_type() == kind
    assert (b"The body." in told.raw) == (ret == "FULL")


async def test_of_a_large_mail_only_the_header_comes_back(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    content = CONTENT + "x" * 70 * 100 + "\r\n" + ("y" * 70 + "\r\n") * 1000
    await send(acme, "bob@there.test", content=content, options=("RET=FULL",))
    told = await one_report(upstream)
    assert b"Subject: hello\r\n" in told.raw
    assert b"yyyy" not in told.raw


async def test_an_international_failure_is_told_of_in_utf8(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = {"用户@there.test": GONE}
    notify = {"用户@there.test": "ORCPT=utf-8;\\x{7528}\\x{6237}@there.test"}
    content = CONTENT.replace("hello", "grüße")
    await send(acme, "用户@there.test", notify=notify, content=content, options=("SMTPUTF8",))
    told = await one_report(upstream)
    assert b"message/global-delivery-status" in told.raw
    assert "Original-Recipient: utf-8;用户@there.test".encode() in told.raw
    found = read_bounce(told.raw)
    assert found is not None
    assert [r.address for r in found.recipients] == ["用户@there.test"]


async def test_nobody_is_told_of_mail_without_a_sender(acme: Relay, upstream: FakeUpstream) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    pk = await send(acme, "bob@there.test", sender="")
    await acme.settled(pk, "failed")
    await no_report(acme, upstream)


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
    ],
)
async def test_answers_and_reports_are_not_answered(
    acme: Relay, upstream: FakeUpstream, field: str
) -> None:
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    pk = await send(acme, "bob@there.test", content=f"{field}\r\n{CONTENT}")
    await acme.settled(pk, "failed")
    await no_report(acme, upstream)


async def test_a_notification_that_fails_makes_no_other(
    acme: Relay, upstream: FakeUpstream
) -> None:
    upstream.on["RCPT"] = lambda _moment: GONE
    await send(acme, "bob@there.test")

    async def failed() -> bool:
        pks = await notifications(acme)
        return bool(pks) and await acme.states(pks[0]) == ["failed"]

    await until(failed)
    assert len(await notifications(acme)) == 1
    body, _ = acme.node.metrics.render()
    assert b'pillarbox_double_bounces_total{tenant="acme"} 1.0' in body
    assert b'pillarbox_dsns_total{tenant="acme"} 1.0' in body


async def test_a_tenant_that_is_called_gets_no_mail_and_no_word_of_ours(
    relay: Relay, upstream: FakeUpstream
) -> None:
    async with FakeClient() as client:
        await prepared(relay, upstream, client_base_url=client.url)
        upstream.on["RCPT"] = {"bob@there.test": GONE}
        pk = await send(relay, "bob@there.test")
        await relay.settled(pk, "failed")
        await no_report(relay, upstream)


async def test_who_wants_both_gets_both_and_no_report_of_the_notification(
    relay: Relay, upstream: FakeUpstream
) -> None:
    async with FakeClient() as client:
        await prepared(relay, upstream, client_base_url=client.url, dsn=DsnWish.ALWAYS)
        upstream.on["RCPT"] = {"bob@there.test": GONE}
        accepted = await relay.send("bob@there.test", sender=SENDER)
        told = await one_report(upstream)
        assert told.about["X-Pillarbox-Queue-Id"] == accepted.pk
        [dsn] = await notifications(relay)
        await relay.settled(dsn, "sent")
        await client.wait_for(lambda c: bool(c.entries))
        events = await relay.node.stores.messages.events(dsn)
        assert [e.kind for e in events] == ["accepted", "sent"]
        sql = "SELECT report FROM events WHERE message_pk = $1"
        reports = {row["report"] for row in await relay.node.database.fetch(sql, dsn)}
        assert reports == {"none"}
        assert {entry["id"] for entry in client.entries} == {accepted.pk}


@pytest.mark.parametrize(
    ("wish", "by_smtp", "told"),
    [
        (None, False, False),
        (DsnWish.SMTP, False, False),
        (DsnWish.ALWAYS, False, True),
        (DsnWish.NEVER, True, False),
    ],
)
async def test_the_tenants_setting_decides(
    relay: Relay, upstream: FakeUpstream, wish: DsnWish | None, by_smtp: bool, told: bool
) -> None:
    await prepared(relay, upstream, dsn=wish)
    upstream.on["RCPT"] = {"bob@there.test": GONE}
    if by_smtp:
        pk = await send(relay, "bob@there.test")
    else:
        pk = (await relay.send("bob@there.test", sender=SENDER)).pk
    await relay.settled(pk, "failed")
    assert bool(await notifications(relay)) == told


async def test_a_server_with_dsn_gets_what_was_asked_and_answers_for_it(
    acme: Relay, upstream: FakeUpstream
) -> None:
    notify = {"bob@there.test": "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2BX@There.Test"}
    options = ("RET=HDRS", "ENVID=Q+2B1")
    pk = await send(acme, "bob@there.test", notify=notify, options=options)
    await acme.settled(pk, "sent")
    commands = "\n".join(upstream.commands)
    assert "RET=HDRS" in commands
    assert "ENVID=Q+2B1" in commands
    assert "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2BX@There.Test" in commands
    await no_report(acme, upstream)


async def test_an_international_orcpt_is_passed_on(acme: Relay, upstream: FakeUpstream) -> None:
    notify = {"用户@there.test": "ORCPT=utf-8;用户@there.test"}
    pk = await send(acme, "用户@there.test", notify=notify, options=("SMTPUTF8",))
    await acme.settled(pk, "sent")
    assert "ORCPT=utf-8;\\x{7528}\\x{6237}@there.test" in "\n".join(upstream.commands)


async def test_where_the_server_has_no_dsn_success_means_relayed(relay: Relay) -> None:
    async with FakeUpstream(extensions=NO_DSN, on={"RCPT": {"cid@there.test": GONE}}) as upstream:
        await prepared(relay, upstream)
        notify = {"bob@there.test": "NOTIFY=SUCCESS"}
        to = ("amy@there.test", "bob@there.test", "cid@there.test")
        await send(relay, *to, notify=notify, options=("ENVID=Q1",))
        told = await one_report(upstream, after=1)
        assert not any("NOTIFY" in c or "ENVID" in c for c in upstream.commands)
        actions = {address: group["Action"] for address, group in told.groups.items()}
        assert actions == {"bob@there.test": "relayed", "cid@there.test": "failed"}
        assert told.groups["bob@there.test"]["Status"].startswith("2.")


async def test_where_reports_would_come_back_to_us_success_means_relayed(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await prepared(relay, upstream, bounce_return_path="bounces.acme.test")
    await send(relay, "bob@there.test", notify={"bob@there.test": "NOTIFY=SUCCESS"})
    told = await one_report(upstream, after=1)
    assert upstream.received[0].sender.endswith("@bounces.acme.test")
    assert told.groups["bob@there.test"]["Action"] == "relayed"


async def test_late_mail_is_told_of_once_and_only_where_delay_is_asked_for(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**{"dsn.delay_warning_s": 0.3, "retry.waits_s": [0.2]})
    await prepared(relay, upstream)
    upstream.on["RCPT"] = lambda m: None if m.argument == SENDER else "450 4.2.0 later"
    notify = {"bob@there.test": "NOTIFY=FAILURE"}
    pk = await send(relay, "amy@there.test", "bob@there.test", notify=notify)
    told = await one_report(upstream)
    assert list(told.groups) == ["amy@there.test"]
    group = told.groups["amy@there.test"]
    assert group["Action"] == "delayed"
    assert group["Will-Retry-Until"] is not None
    assert group["Diagnostic-Code"] == "smtp; 450 4.2.0 later"

    async def tried_again() -> bool:
        return (await relay.view(pk)).recipients[0].attempts > 6

    await until(tried_again)
    assert len(await notifications(relay)) == 1


async def test_a_notification_of_a_suspended_tenant_waits(
    acme: Relay, upstream: FakeUpstream
) -> None:
    answer = asyncio.Event()

    async def held(_moment: object) -> str:
        await answer.wait()
        return GONE

    upstream.on["RCPT"] = held
    pk = await send(acme, "bob@there.test")
    await upstream.wait_for_command("RCPT")
    await acme.node.stores.batches.suspend("acme", None)
    answer.set()
    await acme.settled(pk, "failed")
    [dsn] = await notifications(acme)
    assert await acme.states(dsn) == ["suspended"]


async def prepare(serve: ServeProcess, upstream: FakeUpstream) -> None:
    await serve.post("/tenant", {"id": "acme", "dsn": "always"})
    account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": upstream.port}
    await serve.post("/account", {**account, "use_tls": False})


async def test_kills_make_exactly_one_notification_for_each_failure(
    database_url: str, tmp_path: Path
) -> None:
    mails = 30
    async with (
        FakeUpstream() as upstream,
        ServeProcess(tmp_path / "home", database_url) as serve,
    ):
        upstream.on["RCPT"] = lambda m: GONE if m.argument.endswith("@gone.test") else None
        upstream.delays["RCPT"] = 0.02
        await prepare(serve, upstream)
        for n in range(mails):
            await serve.post("/commands/add-messages", {"messages": [message(n)]})
            if n % 10 == 5:
                await serve.kill()
                await serve.start()
        await upstream.wait_for(mails, 30)
        await drained(serve)
        told = [next(iter(report(mail).groups)) for mail in upstream.received]
        assert sorted(set(told)) == sorted(f"r{n}@gone.test" for n in range(mails))
        answer = await serve.client.get("/messages", params={"tenant_id": "acme"})
        about = [m["message"]["dsn_of"]["id"] for m in answer.json()["messages"] if is_dsn(m)]
        assert sorted(about) == sorted(f"m{n}" for n in range(mails))


def is_dsn(record: dict[str, dict[str, object]]) -> bool:
    return "dsn_of" in record["message"]


def message(n: int) -> dict[str, object]:
    return {
        "id": f"m{n}",
        "tenant_id": "acme",
        "account_id": "main",
        "from": "ann@acme.test",
        "to": f"r{n}@gone.test",
        "subject": "x",
        "body": "x",
    }


async def drained(serve: ServeProcess) -> None:
    async def nothing_waits() -> bool:
        query = {"tenant_id": "acme", "active_only": "true"}
        answer = await serve.client.get("/messages", params=query)
        return not answer.json()["messages"]

    await until(nothing_waits, timeout_s=30, every_s=0.1)
