"""The server: how it starts and stops, and what slow and many clients can do to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from admin_api.app import build_app
from admin_api.server import HttpServer
from admin_api.services import Services
from tests.api.serving import ADMIN_TOKEN, SETTINGS, Api, close, serve
from tests.waiting import until

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(api: Api) -> Stream:
    return await asyncio.open_connection(*api.server.address)


async def test_stopping_does_not_wait_for_idle_clients(services: Services) -> None:
    api = await serve(services)
    client = api.client(None)
    assert (await client.get("/health")).status_code == 200
    silent = await connect(api)
    started = time.monotonic()
    await api.server.stop(10)
    assert time.monotonic() - started < 2
    assert await silent[0].read() == b""
    silent[1].close()
    await client.aclose()


async def test_stopping_waits_for_a_request_under_way(services: Services) -> None:
    api = await serve(services)
    reader, writer = await connect(api)
    body = b'{"id":"acme"}'
    writer.write(head("POST /tenant", len(body)) + body[:5])
    await until_has(api, busy=1)
    stopping = asyncio.create_task(api.server.stop(10))
    writer.write(body[5:])
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    await stopping
    writer.close()


async def test_stopping_ends_with_its_budget(services: Services) -> None:
    api = await serve(services)
    _, writer = await connect(api)
    writer.write(head("POST /tenant", 100))
    await until_has(api, busy=1)
    started = time.monotonic()
    await api.server.stop(0.3)
    assert time.monotonic() - started < 2
    writer.close()


async def test_a_unix_socket_serves_the_same_and_only_its_owner(
    services: Services, tmp_path: Path
) -> None:
    server = HttpServer(build_app(services), services.uncut)
    path = tmp_path / "api.sock"
    await server.start("127.0.0.1", 0)
    await server.start_unix(path)
    assert path.stat().st_mode & 0o777 == 0o600
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        headers = {"X-API-Token": ADMIN_TOKEN}
        assert (await client.get("/tenants", headers=headers)).status_code == 200
    await server.stop(2)
    assert not path.exists()


async def test_a_port_that_is_taken_is_an_error(bare: Api, services: Services) -> None:
    server = HttpServer(build_app(services), services.uncut)
    with pytest.raises(OSError, match="in use"):
        await server.start(*bare.server.address)


async def test_one_connection_too_many_is_turned_away(services: Services) -> None:
    api = await serve(replace(services, settings=replace(SETTINGS, max_connections=2)))
    kept = [await connect(api) for _ in range(2)]
    await until_has(api, connections=2)
    reader, writer = await connect(api)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    for _, other in [*kept, (reader, writer)]:
        other.close()
    await until_has(api, connections=0)
    assert (await api.client(None).get("/health")).status_code == 200
    await close(api)


async def drip(api: Api, start: bytes) -> bytes:
    """Send a request a byte at a time until it is cut; return the status line of its answer."""
    reader, writer = await connect(api)
    line = asyncio.create_task(reader.readline())

    async def is_cut() -> bool:
        with suppress(ConnectionError):
            writer.write(b"x")
            await writer.drain()
        return line.done() and api.server.connection_count == 0

    writer.write(start)
    await until(is_cut)
    writer.close()
    return await line


@pytest.fixture
async def hasty(services: Services) -> AsyncIterator[Api]:
    """An API that gives a request 0.3 s to come in."""
    settings = replace(SETTINGS, request_deadline_s=0.3, min_rate_bytes_s=1_000_000)
    api = await serve(replace(services, settings=settings))
    yield api
    await close(api)


async def test_a_request_that_drips_is_cut(hasty: Api) -> None:
    for start in (b"GET /health HT", head("POST /tenant", 100_000)):
        assert (await drip(hasty, start)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_drips_after_its_answer_is_cut(hasty: Api) -> None:
    start = head("POST /tenant", 100_000, token="wrong")
    assert (await drip(hasty, start)).startswith(b"HTTP/1.1 401 ")


async def test_a_stranger_is_answered_before_the_body_is_read(bare: Api) -> None:
    reader, writer = await connect(bare)
    writer.write(head("POST /commands/add-messages", 300_000, token="wrong"))
    line = await asyncio.wait_for(reader.readline(), 5)
    assert line.startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_what_is_no_http_is_refused(bare: Api) -> None:
    requests: Sequence[bytes] = (
        b"nonsense\r\n\r\n",
        b"POST /tenant HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        head("POST /tenant", 5).replace(b": 5", b": +5"),
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    )
    for request in requests:
        reader, writer = await connect(bare)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413")
        assert b'{"detail":' in answer
        writer.close()


async def test_settings_of_sanic_do_not_come_from_the_environment(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANIC_ACCESS_LOG", "true")
    monkeypatch.setenv("SANIC_REQUEST_MAX_SIZE", "1")
    config = build_app(services).config
    assert config.ACCESS_LOG is False
    assert SETTINGS.max_body_bytes == config.REQUEST_MAX_SIZE


async def until_has(api: Api, *, busy: int = 0, connections: int | None = None) -> None:
    """Wait until the server has so many connections, or so many busy ones."""

    async def reached() -> bool:
        if connections is not None:
            return api.server.connection_count == connections
        return api.server.busy_count == busy

    await until(reached)


def head(line: str, length: int, token: str = ADMIN_TOKEN) -> bytes:
    text = f"{line} HTTP/1.1\r\nHost: x\r\nX-API-Token: {token}\r\nContent-Length: {length}\r\n\r\n"
    return text.encode()
