"""GET and HEAD /download/{ticket}."""

import io
import time
from dataclasses import replace
from email.message import Message as Headers
from pathlib import Path

import httpx
import pytest

from admin_api.download import Span, wanted_span
from relay.attachments.offload.tickets import Tickets, file_id
from relay.crypto import Keyring
from relay.store.files import FileStore, StoredFile
from tests.api.serving import Api

DATA = bytes(range(256)) * 4000
NAME = 'Übersicht "2026".pdf'


@pytest.fixture
async def file(bare: Api, tmp_path: Path) -> StoredFile:
    """A file that is stored and noted."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "x.pdf").write_bytes(DATA)
    stored = StoredFile(
        id=file_id("pk", NAME, "sum"),
        tenant_id="acme",
        message_pk="pk",
        storage=f"file://{tmp_path}",
        key="acme/x.pdf",
        name=NAME,
        mime_type="application/pdf",
        size_bytes=len(DATA),
        sha256="sum",
        created_at=time.time(),
        expires_at=time.time() + 60,
    )
    await note(bare, stored)
    return stored


async def note(api: Api, file: StoredFile) -> None:
    await FileStore(api.services.database).note(file)


def path_of(api: Api, file: StoredFile) -> str:
    return f"/download/{api.services.tickets.issue(file.id)}"


async def test_a_file_comes_whole_with_its_type_and_name_and_is_never_shown(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile
) -> None:
    answer = await nobody.get(path_of(bare, file))
    assert answer.status_code == 200
    assert answer.content == DATA
    headers = answer.headers
    assert headers["content-type"] == "application/pdf"
    assert headers["content-length"] == str(len(DATA))
    assert headers["x-content-type-options"] == "nosniff"
    parsed = Headers()
    parsed["Content-Disposition"] = headers["content-disposition"]
    assert parsed.get_content_disposition() == "attachment"
    # RFC 8187 goes before the plain name, which is there for old clients.
    assert headers["content-disposition"] == (
        'attachment; filename="_bersicht _2026_.pdf";'
        " filename*=UTF-8''%C3%9Cbersicht%20%222026%22.pdf"
    )


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=1000-", 1000, len(DATA)),
        ("bytes=-10", len(DATA) - 10, len(DATA)),
        ("bytes=5-99999999", 5, len(DATA)),
        ("Bytes=7-7", 7, 8),
    ],
)
async def test_a_range_is_served_alone(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, asked: str, start: int, end: int
) -> None:
    answer = await nobody.get(path_of(bare, file), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0"])
async def test_a_range_past_the_end_is_416(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, asked: str
) -> None:
    answer = await nobody.get(path_of(bare, file), headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", "x"])
async def test_what_is_no_single_range_gets_the_whole(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, asked: str
) -> None:
    answer = await nobody.get(path_of(bare, file), headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


async def test_a_range_of_another_version_gets_the_whole(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile
) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert (await nobody.get(path_of(bare, file), headers=headers)).status_code == 200
    headers["If-Range"] = '"sum"'
    assert (await nobody.get(path_of(bare, file), headers=headers)).status_code == 206


async def test_head_says_the_same_and_sends_nothing(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile
) -> None:
    got, said = await nobody.get(path_of(bare, file)), await nobody.head(path_of(bare, file))
    assert (said.status_code, said.content) == (200, b"")
    for name in ("content-length", "content-type", "content-disposition", "etag"):
        assert said.headers[name] == got.headers[name]
    part = await nobody.head(path_of(bare, file), headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")


async def test_a_forged_link_is_not_found(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile
) -> None:
    ticket = bare.services.tickets.issue(file.id)
    stranger = Tickets(Keyring([b"x" * 32])).issue(file.id)
    changed = [ticket[:n] + ("A" if ticket[n] != "A" else "B") + ticket[n + 1 :] for n in (0, 20)]
    for forged in (*changed, stranger, ticket[:16], ticket + "A", "x", "..%2f..%2fetc%2fpasswd"):
        answer = await nobody.get(f"/download/{forged}")
        assert answer.status_code == 404, forged


async def test_a_link_that_has_ended_is_gone(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, tmp_path: Path
) -> None:
    path = path_of(bare, file)
    await note(bare, replace(file, expires_at=time.time() - 1))
    assert (await nobody.get(path)).status_code == 410
    await FileStore(bare.services.database).forget([file.id])
    assert (await nobody.get(path)).status_code == 410
    await note(bare, file)
    (tmp_path / "acme" / "x.pdf").unlink()
    answer = await nobody.get(path)
    assert (answer.status_code, answer.json()) == (410, {"detail": "this link has ended"})


async def test_a_link_outlives_the_change_of_the_key(bare: Api, file: StoredFile) -> None:
    old, new = b"o" * 32, b"n" * 32
    ticket = Tickets(Keyring([old])).issue(file.id)
    assert Tickets(Keyring([new, old])).verify(ticket) == file.id
    assert Tickets(Keyring([new])).verify(ticket) is None


async def test_a_link_to_a_cloud_leads_to_a_fresh_signed_url(
    bare: Api, nobody: httpx.AsyncClient, admin: httpx.AsyncClient, file: StoredFile
) -> None:
    await admin.post(
        "/tenant",
        json={
            "id": "acme",
            "large_file_config": {
                "enabled": True,
                "storage_url": "s3://key:secret@bucket/pre?endpoint=http://127.0.0.1:9&region=r",
                "action": "rewrite",
            },
        },
    )
    storage = "s3://bucket/pre?endpoint=http://127.0.0.1:9&region=r"
    await note(bare, replace(file, storage=storage))
    answer = await nobody.get(path_of(bare, file))
    assert answer.status_code == 302
    location = httpx.URL(answer.headers["location"])
    assert str(location).startswith("http://127.0.0.1:9/bucket/pre/acme/x.pdf?")
    assert 0 < int(location.params["X-Amz-Expires"]) <= 60
    assert location.params["X-Amz-Credential"].startswith("key/")
    assert "secret" not in str(location)


async def test_a_type_that_could_break_the_header_is_not_repeated(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile
) -> None:
    await note(bare, replace(file, id=file_id("2", "x", "y"), mime_type="text/html\r\nX: y"))
    answer = await nobody.get(path_of(bare, replace(file, id=file_id("2", "x", "y"))))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "x" not in answer.headers


async def test_what_a_file_lacks_of_its_size_is_no_whole_download(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, tmp_path: Path
) -> None:
    (tmp_path / "acme" / "x.pdf").write_bytes(DATA[:-1])
    with pytest.raises(httpx.RemoteProtocolError):
        await nobody.get(path_of(bare, file))


async def test_a_link_whose_download_breaks_is_not_in_the_log(
    bare: Api, nobody: httpx.AsyncClient, file: StoredFile, tmp_path: Path, log: io.StringIO
) -> None:
    (tmp_path / "acme" / "x.pdf").write_bytes(DATA[:-1])
    path = path_of(bare, file)
    with pytest.raises(httpx.RemoteProtocolError):
        await nobody.get(path)
    assert "GET /download/<" in log.getvalue()
    assert path.rpartition("/")[2] not in log.getvalue()


def test_an_empty_file_has_no_ranges() -> None:
    assert wanted_span(None, 0) == Span(0, 0)
    assert wanted_span("bytes=0-", 0) is None
    assert wanted_span("bytes=-5", 0) is None
