"""POST /messages/raw, GET /messages, GET /messages/{id}, GET /messages/{id}/content."""

import time

import httpx

from tests.api.serving import Api, Json, Message

OF_ACME = {"tenant_id": "acme"}
RAW = {**OF_ACME, "from": "a@acme.test", "to": "x@there.test", "account_id": "main"}
RFC822 = {"Content-Type": "message/rfc822"}
MAIL = b"From: a@acme.test\r\nBcc: hidden@there.test\r\nSubject: raw\r\n\r\nas it came\r\n"


async def fill(client: httpx.AsyncClient, message: Message, count: int, **changes: object) -> None:
    messages = [message(id=f"m{n}", **changes) for n in range(count)]
    answer = await client.post("/commands/add-messages", json={"messages": messages})
    assert answer.json()["queued"] == count


async def listed(client: httpx.AsyncClient, **query: str | float) -> list[str]:
    answer = await client.get("/messages", params={**OF_ACME, **query})
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["messages"]]


async def test_a_raw_mail_goes_out_as_it_came_but_for_our_fields(acme: httpx.AsyncClient) -> None:
    answer = await acme.post(
        "/messages/raw", params={**RAW, "id": "r1"}, content=MAIL, headers=RFC822
    )
    assert answer.status_code == 200
    (queued,) = answer.json()["messages"]
    assert queued["id"] == "r1"
    mail = (await acme.get("/messages/r1/content", params=OF_ACME)).content
    assert mail.startswith(b"Received: ")
    assert mail.endswith(b"Subject: raw\r\n\r\nas it came\r\n")
    assert b"hidden" not in mail


async def test_a_raw_mail_without_an_id_has_ours(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/messages/raw", params=RAW, content=MAIL, headers=RFC822)
    (queued,) = answer.json()["messages"]
    assert queued["id"] == queued["pk"]


async def test_the_envelope_of_a_raw_mail_is_in_the_query(
    api: Api, acme: httpx.AsyncClient
) -> None:
    later = int(time.time()) + 600
    query = {**RAW, "from": "<>", "id": "r1", "priority": "High", "batch_code": "b"}
    query |= {"deferred_ts": str(later), "metadata": '{"k":1}'}
    several = httpx.QueryParams(query).add("to", "y@there.test,z@there.test")
    await acme.post("/messages/raw", params=several, content=MAIL, headers=RFC822)
    record = (await acme.get("/messages/r1", params=OF_ACME)).json()
    assert [r["address"] for r in record["recipients"]] == [f"{c}@there.test" for c in "xyz"]
    assert (record["priority"], record["batch_code"]) == (1, "b")
    assert (record["deferred_ts"], record["metadata"]) == (later, {"k": 1})
    view = await api.services.messages.find("acme", "r1")
    assert view is not None
    assert view.sender == ""


async def test_line_ends_of_files_become_those_of_mail(acme: httpx.AsyncClient) -> None:
    mail = MAIL.replace(b"\r\n", b"\n")
    await acme.post("/messages/raw", params={**RAW, "id": "r1"}, content=mail, headers=RFC822)
    content = (await acme.get("/messages/r1/content", params=OF_ACME)).content
    assert content.count(b"\n") == content.count(b"\r\n")


async def test_a_raw_mail_that_is_none_is_refused(acme: httpx.AsyncClient) -> None:
    for content in (b"Subject: a\r\n\r\nnul \0", b"Subject: a\rBcc: v@x.test\r\n\r\n"):
        answer = await acme.post("/messages/raw", params=RAW, content=content, headers=RFC822)
        assert answer.status_code == 400
        assert answer.json()["detail"]["rejected"][0]["reason"] == "invalid payload"
    assert (await acme.post("/messages/raw", params=RAW, headers=RFC822)).status_code == 422
    assert await listed(acme) == []


async def test_a_raw_mail_of_another_type_is_415(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/messages/raw", params=RAW, json={})
    assert answer.status_code == 415


async def test_a_raw_mail_without_its_envelope_is_422(acme: httpx.AsyncClient) -> None:
    for name in ("from", "to"):
        query = {key: value for key, value in RAW.items() if key != name}
        answer = await acme.post("/messages/raw", params=query, content=MAIL, headers=RFC822)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", name]


async def test_a_record_has_all_its_fields(acme: httpx.AsyncClient, message: Message) -> None:
    await fill(acme, message, 1)
    (record,) = (await acme.get("/messages", params=OF_ACME)).json()["messages"]
    assert set(record) == {
        *(
            [
                "pk",
                "id",
                "tenant_id",
                "tenant_name",
                "account_id",
                "priority",
                "batch_code",
                "deferred_ts",
            ]
        ),
        *(["sent_ts", "smtp_ts", "error_ts", "error", "reported_ts", "bounce_type", "bounce_code"]),
        *(["bounce_reason", "bounce_ts", "created_at", "updated_at", "message", "is_pec"]),
        *(["status", "recipients", "metadata"]),
    }
    assert (record["tenant_name"], record["status"]) == ("Acme", "queued")
    assert record["recipients"] == [
        {
            "address": "x@there.test",
            "status": "queued",
            "attempts": 0,
            "code": None,
            "reply": None,
            "account_id": None,
            "next_attempt_ts": None,
        }
    ]


async def test_a_pec_account_shows_at_once(acme: httpx.AsyncClient, message: Message) -> None:
    pec = {"id": "pec", "host": "h.test", "port": 25, "is_pec_account": True}
    await acme.post("/account", json=pec)
    await fill(acme, message, 1, account_id="pec")
    (record,) = (await acme.get("/messages", params=OF_ACME)).json()["messages"]
    assert record["is_pec"] is True


async def test_history_comes_when_it_is_asked_for(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await fill(acme, message, 1)
    query = {**OF_ACME, "include_history": "true"}
    (record,) = (await acme.get("/messages", params=query)).json()["messages"]
    assert [event["event"] for event in record["history"]] == ["accepted"]


async def test_one_message_comes_with_its_story(acme: httpx.AsyncClient, message: Message) -> None:
    await fill(acme, message, 1)
    record = (await acme.get("/messages/m0", params=OF_ACME)).json()
    assert record["id"] == "m0"
    assert record["attempts"] == []
    assert [event["event"] for event in record["events"]] == ["accepted"]
    by_pk = await acme.get(f"/messages/{record['pk']}", params=OF_ACME)
    assert by_pk.json() == record


async def test_an_id_may_hold_anything_that_can_be_quoted(
    acme: httpx.AsyncClient, message: Message
) -> None:
    odd = "a/b c?d=é&%41"
    await acme.post("/commands/add-messages", json={"messages": [message(id=odd)]})
    path = httpx.URL("/messages/").copy_with(raw_path=b"/messages/" + quoted(odd))
    answer = await acme.get(path, params=OF_ACME)
    assert answer.json()["id"] == odd


async def test_a_message_that_does_not_exist_is_404(acme: httpx.AsyncClient) -> None:
    for path in ("/messages/none", "/messages/none/content"):
        answer = await acme.get(path, params=OF_ACME)
        assert (answer.status_code, answer.json()) == (404, {"detail": "message not found"})


async def test_content_that_was_dropped_is_404(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await fill(acme, message, 1)
    await api.services.database.fetch("DELETE FROM contents")
    answer = await acme.get("/messages/m0/content", params=OF_ACME)
    assert (answer.status_code, answer.json()) == (404, {"detail": "content not found"})


async def test_a_list_without_limit_is_whole_and_in_order(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await fill(acme, message, 450, body="x")
    assert await listed(acme) == [f"m{n}" for n in range(450)]


async def test_the_newest_come_first_where_that_is_asked_for(
    acme: httpx.AsyncClient, message: Message
) -> None:
    mails = [message(id=f"m{n}") for n in range(5)]
    await acme.post("/commands/add-messages", json={"messages": mails})
    found: list[str] = []
    query: Json = {**OF_ACME, "newest_first": True, "limit": 2}
    while True:
        answer = (await acme.get("/messages", params=query)).json()
        found += [m["id"] for m in answer["messages"]]
        if "next_cursor" not in answer:
            break
        query["cursor"] = answer["next_cursor"]
    assert found == ["m4", "m3", "m2", "m1", "m0"]


async def test_pages_follow_each_other_by_cursor(acme: httpx.AsyncClient, message: Message) -> None:
    await fill(acme, message, 7)
    found: list[str] = []
    query: Json = {**OF_ACME, "limit": 3}
    while True:
        page = (await acme.get("/messages", params=query)).json()
        found += [record["id"] for record in page["messages"]]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    assert found == [f"m{n}" for n in range(7)]


async def test_filters_choose(acme: httpx.AsyncClient, message: Message) -> None:
    later = time.time() + 600
    messages = [
        message(id="a", batch_code="spring"),
        message(id="b", to=["other@there.test"], account_id=None),
        message(id="c", deferred_ts=later),
    ]
    await acme.post("/commands/add-messages", json={"messages": messages})
    assert await listed(acme, batch_code="spring") == ["a"]
    assert await listed(acme, recipient="OTHER@there.test") == ["b"]
    assert await listed(acme, account_id="main") == ["a", "c"]
    assert await listed(acme, status="scheduled") == ["c"]
    assert await listed(acme, status="queued", limit=1) == ["a"]
    assert await listed(acme, since=later) == []
    assert await listed(acme, until=later) == ["a", "b", "c"]


async def test_active_only_leaves_out_what_is_final(
    api: Api, acme: httpx.AsyncClient, message: Message
) -> None:
    await fill(acme, message, 2)
    await api.services.database.fetch("UPDATE messages SET final_at = 1 WHERE id = 'm0'")
    assert await listed(acme, active_only="true") == ["m1"]
    assert await listed(acme) == ["m0", "m1"]


async def test_a_query_that_is_not_understood_is_422(acme: httpx.AsyncClient) -> None:
    for name, value in (
        ("cursor", "made up"),
        ("cursor", "bTE"),
        ("limit", "0"),
        ("limit", "many"),
        ("status", "gone"),
        ("since", "yesterday"),
        ("active_only", "perhaps"),
        ("recipient", "a\0b"),
    ):
        answer = await acme.get("/messages", params={**OF_ACME, name: value})
        assert answer.status_code == 422, (name, value)
        assert answer.json()["detail"][0]["loc"] == ["query", name]


async def test_a_parameter_given_twice_is_422(acme: httpx.AsyncClient) -> None:
    answer = await acme.get("/messages?tenant_id=acme&tenant_id=acme")
    assert answer.status_code == 422


async def test_a_missing_tenant_is_422(admin: httpx.AsyncClient, api: Api) -> None:
    for path in ("/messages", "/messages/x", "/messages/x/content", "/accounts", "/credentials"):
        answer = await admin.get(path)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", "tenant_id"]


def quoted(text: str) -> bytes:
    return "".join(f"%{octet:02X}" for octet in text.encode()).encode()
