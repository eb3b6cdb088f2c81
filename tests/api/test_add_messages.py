"""POST /commands/add-messages."""

import time
from typing import Any

import httpx

from tests.api.serving import Api, Json, Message

URL = "/commands/add-messages"
OF_ACME = {"tenant_id": "acme"}


async def add(client: httpx.AsyncClient, *messages: Json, **call: Any) -> httpx.Response:
    return await client.post(URL, json={"messages": list(messages), **call})


async def content_of(client: httpx.AsyncClient, message_id: str = "m1") -> bytes:
    answer = await client.get(f"/messages/{message_id}/content", params=OF_ACME)
    return answer.content


async def record_of(client: httpx.AsyncClient, message_id: str = "m1") -> Json:
    found: Json = (await client.get(f"/messages/{message_id}", params=OF_ACME)).json()
    return found


def reason(answer: httpx.Response) -> str:
    """Return why the only message was refused, and with nothing queued."""
    assert answer.status_code == 400, answer.text
    (rejection,) = answer.json()["detail"]["rejected"]
    return str(rejection["reason"])


async def test_a_message_is_queued_under_the_clients_id_and_ours(
    admin: httpx.AsyncClient, api: Api, message: Message
) -> None:
    answer = await add(admin, message())
    assert answer.status_code == 200
    body = answer.json()
    (queued,) = body.pop("messages")
    assert body == {"ok": True, "queued": 1, "rejected": []}
    assert queued["id"] == "m1"
    assert (await record_of(admin))["pk"] == queued["pk"]


async def test_with_a_tenants_key_the_tenant_may_be_left_out(
    acme: httpx.AsyncClient, message: Message
) -> None:
    assert (await add(acme, message(tenant_id=None))).json()["queued"] == 1


async def test_what_is_missing_is_named(acme: httpx.AsyncClient, message: Message) -> None:
    for field in ("id", "from", "to", "subject"):
        for value in (None, ""):
            assert reason(await add(acme, {**message(), field: value})) == f"missing {field}"


async def test_the_admin_must_name_the_tenant(
    admin: httpx.AsyncClient, api: Api, message: Message
) -> None:
    assert reason(await add(admin, message(tenant_id=None))) == "missing tenant_id"


async def test_an_account_that_is_not_the_tenants_is_not_found(
    admin: httpx.AsyncClient, api: Api, message: Message
) -> None:
    answer = await add(admin, message(account_id="other"))
    assert reason(answer) == "account not found for tenant"
    assert "rejected" not in answer.json()


async def test_a_tenant_that_does_not_exist_has_no_accounts(
    admin: httpx.AsyncClient, api: Api, message: Message
) -> None:
    assert reason(await add(admin, message(tenant_id="none"))) == "account not found for tenant"


async def test_without_an_account_the_mail_is_routed(
    acme: httpx.AsyncClient, message: Message
) -> None:
    assert (await add(acme, message(account_id=None))).json()["queued"] == 1
    assert (await record_of(acme))["account_id"] is None


async def test_without_an_account_and_a_route_the_account_is_missing(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await acme.post(
        "/account", json={"id": "main", "host": "h", "port": 25, "sender_domains": ["other.test"]}
    )
    assert reason(await add(acme, message(account_id=None))) == "missing account_id"


async def test_one_bad_message_does_not_fail_the_others(
    acme: httpx.AsyncClient, message: Message
) -> None:
    bad: list[Any] = ["text", message(id=None), message(id="bad", to="no address"), None]
    body = (await add(acme, message(), *bad, message(id="m2"))).json()
    assert [m["id"] for m in body["messages"]] == ["m1", "m2"]
    assert body["queued"] == 2
    assert [(r["id"], r["reason"]) for r in body["rejected"]] == [
        (None, "invalid payload"),
        (None, "missing id"),
        ("bad", "invalid payload"),
        (None, "invalid payload"),
    ]


async def test_what_is_invalid_is_said_in_a_detail(
    acme: httpx.AsyncClient, message: Message
) -> None:
    answer = await add(acme, message(to=["x@there.test", "no address"]))
    (rejection,) = answer.json()["detail"]["rejected"]
    assert rejection["detail"].startswith("to: ")


async def test_the_same_id_again_replaces_what_is_still_queued(
    acme: httpx.AsyncClient, message: Message
) -> None:
    first = (await add(acme, message(body="first"))).json()["messages"][0]["pk"]
    second = (await add(acme, message(body="second"))).json()["messages"][0]["pk"]
    assert first == second
    assert b"second" in await content_of(acme)
    listed = (await acme.get("/messages", params=OF_ACME)).json()["messages"]
    assert len(listed) == 1


async def test_the_same_id_of_another_tenant_is_another_message(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(body="of acme"))
    await add(rival, message(tenant_id="rival", body="of rival"))
    assert b"of acme" in await content_of(acme)


async def test_what_was_sent_is_not_sent_again(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message())
    await finish(api)
    answer = await add(acme, message())
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "queued": 0,
        "rejected": [{"id": "m1", "reason": "already sent"}],
        "messages": [],
    }


async def test_an_empty_call_queues_nothing(acme: httpx.AsyncClient) -> None:
    answer = await add(acme)
    assert answer.status_code == 200
    assert answer.json()["queued"] == 0


async def test_more_than_a_thousand_messages_are_refused(acme: httpx.AsyncClient) -> None:
    assert (await add(acme, *[{}] * 1001)).status_code == 400


async def test_a_thousand_messages_are_one_call(acme: httpx.AsyncClient, message: Message) -> None:
    answer = await add(acme, *[message(id=f"m{n}", body="x") for n in range(1000)])
    assert answer.json()["queued"] == 1000


async def test_what_is_no_list_of_messages_is_422(acme: httpx.AsyncClient) -> None:
    bodies: list[Any] = [{}, {"messages": {}}, {"messages": None}, [], "text", 1]
    for body in bodies:
        assert (await acme.post(URL, json=body)).status_code == 422


async def test_an_empty_list_of_files_is_none(acme: httpx.AsyncClient, message: Message) -> None:
    assert (await add(acme, message(attachments=[], inline=[]))).json()["queued"] == 1


async def test_recipients_are_a_list_or_a_comma_string(
    acme: httpx.AsyncClient, message: Message
) -> None:
    for given in ("x@t.test, Ann <y@t.test>", ["x@t.test", "Ann <y@t.test>"]):
        await add(acme, message(to=given, cc=given, bcc="z@t.test"))
        record = await record_of(acme)
        addresses = [r["address"] for r in record["recipients"]]
        assert addresses == ["x@t.test", "y@t.test", "z@t.test"]
        mail = await content_of(acme)
        assert b"To: x@t.test, Ann <y@t.test>\r\n" in mail
        assert b"z@t.test" not in mail


async def test_too_many_recipients_are_refused(acme: httpx.AsyncClient, message: Message) -> None:
    addresses = [f"x{n}@t.test" for n in range(1001)]
    assert reason(await add(acme, message(to=addresses))) == "invalid payload"


async def test_priority_is_a_number_or_a_label(acme: httpx.AsyncClient, message: Message) -> None:
    stored = {0: 0, "immediate": 0, "HIGH": 1, "1": 1, "Medium": 2, "low": 3, None: 2}
    for given, priority in stored.items():
        await add(acme, message(priority=given))
        assert (await record_of(acme))["priority"] == priority


async def test_another_priority_is_refused(acme: httpx.AsyncClient, message: Message) -> None:
    for given in (4, -1, "urgent", 1.5, [1]):
        assert reason(await add(acme, message(priority=given))) == "invalid payload"


async def test_the_default_priority_is_for_those_that_give_none(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(), message(id="m2", priority=0), default_priority="low")
    assert (await record_of(acme, "m1"))["priority"] == 3
    assert (await record_of(acme, "m2"))["priority"] == 0


async def test_a_default_priority_that_is_none_is_422(
    acme: httpx.AsyncClient, message: Message
) -> None:
    assert (await add(acme, message(), default_priority="urgent")).status_code == 422


async def test_a_mail_for_later_is_scheduled(acme: httpx.AsyncClient, message: Message) -> None:
    later = int(time.time()) + 3600
    await add(acme, message(deferred_ts=later, batch_code="spring", metadata={"order": [1]}))
    record = await record_of(acme)
    assert (record["status"], record["deferred_ts"]) == ("scheduled", later)
    assert (record["batch_code"], record["metadata"]) == ("spring", {"order": [1]})


async def test_a_time_that_has_passed_is_now(acme: httpx.AsyncClient, message: Message) -> None:
    await add(acme, message(deferred_ts=1))
    record = await record_of(acme)
    assert (record["status"], record["deferred_ts"]) == ("queued", None)


OUT_OF_BOUNDS: list[Json] = [
    {"deferred_ts": time.time() * 1000},
    {"deferred_ts": "soon"},
    {"batch_code": "x" * 65},
    {"id": "x" * 256},
    {"id": 7},
    {"metadata": []},
    {"metadata": {"x": "y" * 9000}},
    {"expires_in_s": 0},
    {"on_unknown": "forget"},
    {"content_type": "markdown"},
    {"return_path": "a@b.test, c@d.test"},
    {"from_": "a@b.test, c@d.test"},
    {"message_id": "no id"},
]


async def test_values_out_of_bounds_are_refused(acme: httpx.AsyncClient, message: Message) -> None:
    for change in OUT_OF_BOUNDS:
        assert reason(await add(acme, message(**change))) == "invalid payload"


async def test_the_return_path_is_the_envelopes_sender(
    acme: httpx.AsyncClient, api: Api, message: Message
) -> None:
    await add(acme, message(return_path="<bounces@acme.test>", from_="Ann <a@acme.test>"))
    assert b"From: Ann <a@acme.test>\r\n" in await content_of(acme)
    view = await api.services.messages.find("acme", "m1")
    assert view is not None
    assert view.sender == "bounces@acme.test"


async def test_text_and_html_become_alternatives(acme: httpx.AsyncClient, message: Message) -> None:
    await add(acme, message(body=None, text="plain words", html="<p>rich words</p>"))
    mail = await content_of(acme)
    assert b"multipart/alternative" in mail
    assert mail.index(b"plain words") < mail.index(b"<p>rich words</p>")


async def test_a_body_is_html_when_its_type_says_so(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(body="<p>hi</p>", content_type="html"))
    assert b"Content-Type: text/html" in await content_of(acme)


async def test_headers_and_ids_of_the_client_travel(
    acme: httpx.AsyncClient, message: Message
) -> None:
    given = message(
        headers={"X-Campaign": "spring", "X-Try": 2, "X-None": None},
        message_id="one@acme.test",
        reply_to="help@acme.test",
    )
    await add(acme, given)
    mail = await content_of(acme)
    for line in (
        b"X-Campaign: spring\r\n",
        b"X-Try: 2\r\n",
        b"Message-ID: <one@acme.test>\r\n",
        b"Reply-To: help@acme.test\r\n",
    ):
        assert line in mail
    assert b"X-None" not in mail


async def test_the_record_shows_what_was_asked_without_the_bodies(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await add(acme, message(body="body words", text="text words", html="html words"))
    shown = (await record_of(acme))["message"]
    assert shown["subject"] == "Hello"
    assert shown["to"] == ["x@there.test"]
    assert "words" not in str(shown)


async def test_a_mail_that_is_too_large_is_refused(
    acme: httpx.AsyncClient, message: Message
) -> None:
    assert reason(await add(acme, message(body="x" * 200_001))) == "too large"


async def test_unknown_fields_are_ignored_and_named(
    acme: httpx.AsyncClient, message: Message
) -> None:
    body = (await add(acme, message(colour="red"), message(id="m2", colour=1), size=1)).json()
    assert (body["queued"], body["warnings"]) == (2, ["colour", "size"])


INJECTIONS = [
    "a\r\nBcc: v@x.test",
    "a\nBcc: v@x.test",
    "a\rb",
    "a\x0bb",
    "a\x0cb",
    "a\x85b",
    "a\u2028b",
    "=?utf-8?q?a=0D=0ABcc=3A_v=40x?=",
    "=?utf-8?b?YQ0KQmNjOiB2QHg=?=",
]


def injected(value: str) -> list[Json]:
    """Return a change for each place that a value can be put in."""
    mailboxes = ("from_", "to", "cc", "reply_to", "return_path")
    changes: list[Json] = [{place: f'"{value}" <x@there.test>'} for place in mailboxes]
    changes += [{place: value} for place in ("subject", "message_id", "id", "batch_code")]
    changes.append({"headers": {"X-A": value}})
    return changes


async def test_no_field_can_end_its_line(acme: httpx.AsyncClient, message: Message) -> None:
    for value in INJECTIONS:
        for change in injected(value):
            if value.isprintable() and not {"id", "batch_code"}.isdisjoint(change):
                continue  # they are no header fields, so nobody decodes them
            assert reason(await add(acme, message(**change))) == "invalid payload", change
    assert (await acme.get("/messages", params=OF_ACME)).json()["messages"] == []


async def test_fields_that_are_not_the_clients_to_set_are_refused(
    acme: httpx.AsyncClient, message: Message
) -> None:
    names = ["Bcc", "Received", "Return-Path", "DKIM-Signature", "Content-Type", "MIME-Version"]
    names += ["Sender", "Resent-To", "X-Pillarbox-Id", "Subject", "a:b", "a b", "", "x" * 1000]
    names += ["X-a\r\nBcc", "X-\u2028", "X-é"]
    for name in names:
        assert reason(await add(acme, message(headers={name: "a"}))) == "invalid payload"


async def test_a_thousand_fields_are_refused(acme: httpx.AsyncClient, message: Message) -> None:
    headers = {f"X-{n}": "a" for n in range(1000)}
    assert reason(await add(acme, message(headers=headers))) == "invalid payload"


async def finish(api: Api) -> None:
    """Mark all mail as sent, as a dispatcher would."""
    await api.services.database.fetch("UPDATE recipients SET state = 'sent', final_at = 5")
