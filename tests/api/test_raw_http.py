"""Requests octet by octet: what could be read in two ways is refused, and its connection ended."""

import asyncio
from contextlib import suppress

import httpx
import pytest

from admin_api.strict_http import read_head
from tests.api.serving import ADMIN_TOKEN, Api

BODY = b'{"id":"smuggled"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"11\r\n" + BODY + b"\r\n0\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"


def post(headers: bytes, body: bytes = BODY) -> bytes:
    """A call that makes a tenant, if it is understood."""
    token = b"X-API-Token: " + ADMIN_TOKEN.encode()
    return b"POST /tenant HTTP/1.1\r\nHost: x\r\n" + token + b"\r\n" + headers + b"\r\n" + body


async def said(api: Api, data: bytes) -> bytes:
    """Send this and nothing more; return all that is said until the connection ends."""
    reader, writer = await asyncio.open_connection(*api.server.address)
    answer = b""
    with suppress(ConnectionError):
        writer.write(data)
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                answer += piece
    writer.close()
    return answer


async def tenants(api: Api) -> list[str]:
    return [str(row["id"]) for row in await api.services.database.fetch("SELECT id FROM tenants")]


TWO_WAYS = {
    "length and chunks": post(LENGTH + CHUNKED, CHUNKS),
    "chunks and length": post(CHUNKED + LENGTH, CHUNKS),
    "two lengths": post(LENGTH + LENGTH),
    "two other lengths": post(LENGTH + b"Content-Length: 1\r\n"),
    "a list of lengths": post(b"Content-Length: 17, 17\r\n"),
    "a length below nothing": post(b"Content-Length: -1\r\n"),
    "a length with a sign": post(b"Content-Length: +17\r\n"),
    "a length in hex": post(b"Content-Length: 0x11\r\n"),
    "a length with a line": post(b"Content-Length: 1_7\r\n"),
    "a length in wide digits": post("Content-Length: １７\r\n".encode()),  # noqa: RUF001 - that is it
    "a space before the colon": post(LENGTH.replace(b":", b" :")),
    "chunks behind a space": post(CHUNKED.replace(b":", b" :"), CHUNKS),
    "chunks in capitals": post(b"Transfer-Encoding: Chunked\r\n", CHUNKS),
    "chunks behind a control": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS),
    "chunks behind a wide space": post("Transfer-Encoding: \xa0chunked\r\n".encode(), CHUNKS),
    "chunks and nothing": post(CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS),
    "another encoding": post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
    "a length behind a bare LF": post(b"X-A: b\n" + LENGTH),
    "a length behind a bare CR": post(b"X-A: b\r" + LENGTH + LENGTH),
    "a folded length": post(b"X-A: b\r\n Content-Length: 1\r\n" + LENGTH),
    "NUL in a header": post(b"X-A: b\0c\r\n" + LENGTH),
    "a header without a colon": post(b"nonsense\r\n" + LENGTH),
    "a header without a name": post(b": x\r\n" + LENGTH),
    "a trailer": post(CHUNKED, CHUNKS[:-2] + b"X-API-Token: x\r\n\r\n"),
    "a chunk below nothing": post(CHUNKED, b"-" + CHUNKS),
    "a chunk with 0x": post(CHUNKED, b"0x" + CHUNKS),
    "a chunk that does not end": post(CHUNKED, CHUNKS.replace(b"}\r\n", b"}xx")),
    "an extension with a bare LF": post(CHUNKED, CHUNKS.replace(b"11", b"11;\n", 1)),
    "two hosts": GET + b"Host: y\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "another version": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "a way through": b"CONNECT evil.test:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", TWO_WAYS.values(), ids=TWO_WAYS.keys())
async def test_what_can_be_read_in_two_ways_is_400_and_the_end(bare: Api, data: bytes) -> None:
    # What follows on the connection would be the smuggled call.
    answer = await said(bare, data + post(LENGTH))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'{"detail":' in answer
    assert await tenants(bare) == []


@pytest.mark.parametrize(
    "data", [post(LENGTH), post(CHUNKED, CHUNKS), post(CHUNKED, CHUNKS.replace(b"11", b"11;a=b"))]
)
async def test_what_can_be_read_in_one_way_is_obeyed(bare: Api, data: bytes) -> None:
    answer = await said(bare, data + GET + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert await tenants(bare) == ["smuggled"]


async def test_a_body_is_no_request(bare: Api) -> None:
    inner = post(LENGTH)
    for line in (b"GET /health", b"POST /health", b"POST /tenant"):
        start = line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        answer = await said(bare, start % len(inner) + inner)
        assert answer.count(b"HTTP/1.1 ") == 1
    assert await tenants(bare) == []


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X-A: " + b"x" * 100_000 + b"\r\n\r\n",
        GET + b"X-A: b\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G" * 100_000,
        post(b"Content-Length: 999999999\r\n"),
        post(CHUNKED, b"fffffff\r\n" + BODY),
    ],
    ids=["a long header", "many headers", "a long path", "no end", "a long body", "a long chunk"],
)
async def test_what_is_too_large_is_413_and_the_end(bare: Api, data: bytes) -> None:
    answer = await said(bare, data)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_call_says_nothing_of_where_it_comes_from_or_goes_to(
    api: Api, nobody: httpx.AsyncClient
) -> None:
    evil = "evil.test"
    named = ("Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-URL", "X-Rewrite-URL")
    headers = dict.fromkeys((*named, "X-Forwarded-For", "Forwarded"), evil)
    for path in ("/openapi.json", "/docs", "/nothing", "/tenants", "/health"):
        answer = await nobody.get(path, headers=headers)
        assert evil not in f"{answer.headers}{answer.text}"
    line = f"GET http://{evil}/tenants HTTP/1.1\r\nHost: {evil}\r\nConnection: close\r\n\r\n"
    assert evil.encode() not in await said(api, line.encode())


async def test_every_answer_is_for_its_caller_only(api: Api, nobody: httpx.AsyncClient) -> None:
    for path in ("/health", "/nothing", "/tenants", "/metrics", "/openapi.json", "/docs"):
        headers = (await nobody.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers
    docs = await nobody.get("/docs")
    assert "default-src 'none'" in docs.headers["Content-Security-Policy"]


async def test_nothing_that_is_asked_becomes_a_header(nobody: httpx.AsyncClient) -> None:
    for path in ("/health?q=a%0d%0aX-Evil:1", "/%0d%0aX-Evil:1", "/download/%0d%0aX-Evil:1"):
        assert "X-Evil" not in (await nobody.get(path)).headers


def test_a_head_is_plain_whatever_its_values_say() -> None:
    assert read_head(GET + "X-A: é\t ö:\r\nX-B:".encode())
    assert read_head(b"GET / HTTP/1.0")
    assert read_head(b"") is None
    assert read_head(GET) is None  # an empty line would be the end of it
