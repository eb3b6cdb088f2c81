"""Files of messages by REST: what is taken, what is refused and why, what is shown."""

import base64
import hashlib
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from tests.api.serving import Message
from tests.api.test_add_messages import INJECTIONS

URL = "/commands/add-messages"
OF_ACME = {"tenant_id": "acme"}
MD5 = "9e107d9d372bb6826bd81d3542a419d6"
PNG = bytes(range(256))
Json = dict[str, Any]


def encoded(data: bytes) -> str:
    return "base64:" + base64.b64encode(data).decode()


async def add(client: httpx.AsyncClient, *messages: Json) -> httpx.Response:
    return await client.post(URL, json={"messages": list(messages)})


async def refused(client: httpx.AsyncClient, message: Json) -> Json:
    answer = await add(client, message)
    assert answer.status_code == 400, answer.text
    rejection: Json = answer.json()["detail"]["rejected"][0]
    return rejection


async def shown(client: httpx.AsyncClient, id: str = "m1") -> Json:
    record: Json = (await client.get(f"/messages/{id}", params=OF_ACME)).json()
    return record


async def content(client: httpx.AsyncClient, id: str = "m1") -> EmailMessage:
    answer = await client.get(f"/messages/{id}/content", params=OF_ACME)
    parsed = message_from_bytes(answer.content, policy=policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def test_given_files_are_in_the_mail_at_once(
    acme: httpx.AsyncClient, message: Message
) -> None:
    answer = await add(
        acme,
        message(
            id="m1",
            html='<img src="cid:logo">',
            inline=[{"filename": "logo.png", "storage_path": encoded(PNG), "content_id": "<logo>"}],
            attachments=[
                {"filename": f"Übersicht_{{MD5:{MD5}}}.pdf", "storage_path": encoded(b"%PDF")},
                {"filename": "x", "storage_path": "YQ==", "fetch_mode": "base64"},
            ],
        ),
    )
    assert answer.json()["queued"] == 1, answer.text
    mail = await content(acme)
    image = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert image["Content-ID"] == "<logo>"
    assert image.get_payload(decode=True) == PNG
    files = list(mail.iter_attachments())
    assert [f.get_filename() for f in files] == ["Übersicht.pdf", "x"]
    assert [f.get_content_type() for f in files] == ["application/pdf", "application/octet-stream"]
    assert [f.get_payload(decode=True) for f in files] == [b"%PDF", b"a"]
    record = await shown(acme)
    assert [(a["status"], a["size_bytes"], a["cache"]) for a in record["attachments"]] == [
        ("inserted", 256, None),
        ("inserted", 4, None),
        ("inserted", 1, None),
    ]
    assert record["attachments"][0]["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_what_is_to_be_fetched_waits_and_is_shown_without_its_place_and_login(
    acme: httpx.AsyncClient, message: Message
) -> None:
    login = {"method": "bearer", "token": "very-secret"}
    files = [
        {
            "filename": "a.pdf",
            "storage_path": "https://files.test/a?signed=secret",
            "auth": login,
            "content_md5": MD5.upper(),
        },
        {"filename": "b.txt", "storage_path": "/srv/acme/secret.txt"},
        {"filename": "c", "storage_path": "doc=secret", "mime_type": "text/csv"},
    ]
    assert (await add(acme, message(id="m1", attachments=files))).json()["queued"] == 1
    answer = await acme.get("/messages/m1", params=OF_ACME)
    assert "secret" not in answer.text
    listed = await acme.get("/messages", params={**OF_ACME, "include_history": "true"})
    assert "secret" not in listed.text
    assert answer.json()["attachments"] == [
        {
            "filename": name,
            "mime_type": mime_type,
            "fetch_mode": mode,
            "status": "waiting",
            "size_bytes": None,
            "sha256": None,
            "cache": None,
            "link": None,
            "link_expires_ts": None,
        }
        for name, mime_type, mode in [
            ("a.pdf", "application/pdf", "http_url"),
            ("b.txt", "text/plain", "filesystem"),
            ("c", "text/csv", "endpoint"),
        ]
    ]


@pytest.mark.parametrize(
    ("file", "detail"),
    [
        ({"storage_path": "base64:a"}, "attachments.0: storage_path: is no base64"),
        ({"storage_path": "base64:YQ==\n"}, "attachments.0: storage_path: is no base64"),
        ({"storage_path": "http://user:pw@files.test/"}, "has a login in it"),
        ({"storage_path": "http://"}, "is no URL"),
        ({"storage_path": "http://[fe80::1%25lo]/"}, "is no URL"),
        ({"storage_path": "http://a b/"}, "is no URL"),
        ({"storage_path": "file:///etc/passwd", "fetch_mode": "http_url"}, "is no URL"),
        ({"storage_path": "gopher://a/", "fetch_mode": "http_url"}, "is no URL"),
        ({"storage_path": "/srv/a\x01b"}, "no controls"),
        ({"storage_path": ""}, "1 to 8192"),
        ({"storage_path": "x" * 8193}, "1 to 8192"),
        ({"storage_path": "a.txt", "fetch_mode": "filesystem"}, "from / on"),
        ({"storage_path": "a", "fetch_mode": "http_url"}, "is no URL"),
        ({"storage_path": "a", "fetch_mode": "gopher"}, "fetch_mode"),
        ({"storage_path": "a", "mime_type": "pdf"}, "mime_type"),
        ({"storage_path": "a", "mime_type": "a/b\r\nBcc: x@y.test"}, "mime_type"),
        ({"storage_path": "a", "content_md5": "abc"}, "content_md5"),
        ({"storage_path": "a", "filename": ""}, "filename"),
        ({"storage_path": "a", "filename": "a\r\nBcc: x@y.test"}, "filename"),
        ({"storage_path": "a", "filename": "x" * 256}, "filename"),
        ({"storage_path": "a", "auth": {"method": "bearer"}}, "auth"),
        ({"storage_path": "a", "auth": {"method": "bearer", "token": "a\r\nb"}}, "auth"),
        ({}, "storage_path"),
    ],
)
async def test_what_is_wrong_with_a_file_refuses_its_mail(
    acme: httpx.AsyncClient, message: Message, file: Json, detail: str
) -> None:
    rejection = await refused(acme, message(attachments=[{"filename": "a.txt", **file}]))
    assert rejection["reason"] == "invalid payload"
    assert detail in rejection["detail"]


async def test_files_that_are_too_big_together_are_too_large(
    acme: httpx.AsyncClient, message: Message
) -> None:
    half = {"filename": "a", "storage_path": encoded(bytes(120_000))}
    rejection = await refused(acme, message(attachments=[half, half]))
    assert rejection["reason"] == "too large"


async def test_more_files_than_are_accepted_are_refused(
    acme: httpx.AsyncClient, message: Message
) -> None:
    files = [{"filename": "a", "storage_path": "x"}] * 101
    rejection = await refused(acme, message(attachments=files))
    assert "at most 100 files" in rejection["detail"]


async def test_the_same_id_again_brings_its_own_files(
    acme: httpx.AsyncClient, message: Message
) -> None:
    await acme.post("/commands/suspend", params=OF_ACME)
    for name in ("old.txt", "new.txt"):
        file = {"filename": name, "storage_path": "x"}
        assert (await add(acme, message(id="m1", attachments=[file]))).json()["queued"] == 1
    assert [a["filename"] for a in (await shown(acme))["attachments"]] == ["new.txt"]


@pytest.mark.parametrize("value", INJECTIONS)
async def test_no_name_or_id_of_a_file_can_end_its_line(
    acme: httpx.AsyncClient, message: Message, value: str
) -> None:
    file = {"filename": "a.png", "storage_path": "base64:YQ=="}
    for change in ({"filename": value}, {"content_id": value}, {"mime_type": f"image/{value}"}):
        image = {**file, "content_id": "logo", **change}
        assert (await refused(acme, message(html="<p>", inline=[image])))["id"] == "m1", change
    assert (await acme.get("/messages", params=OF_ACME)).json()["messages"] == []
