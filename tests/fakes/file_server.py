"""A web server that files are fetched from, and that misbehaves as it is told.

Raw sockets, so that it can break HTTP as it likes. Each request is kept as it came; what is
answered is a function of it. Connections are counted when they are made, whatever they ask.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

CHUNK = bytes(64 * 1024)


@dataclass(frozen=True)
class Ask:
    """A request as it came; the names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered.

    `length` is what Content-Length says, None: the truth, -1: no such header. `drip_s` is the wait
    before each byte. After the body it closes; `hangs` waits first, `is_endless` goes on sending.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    drip_s: float = 0.0
    hangs: bool = False
    is_endless: bool = False
    raw: bytes | None = None

    @property
    def head(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        headers = {"Connection": "close", **self.headers}
        if length >= 0:
            headers = {"Content-Length": str(length), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode()


class FileServer:
    def __init__(self, answer: Callable[[Ask], Reply]) -> None:
        self.answer = answer
        self.asks: list[Ask] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "FileServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [ask.path for ask in self.asks]

    async def wait_for(self, asks: int, timeout_s: float = 10) -> list[Ask]:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.asks) >= asks)
        return self.asks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._exchange(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = head[0].split(" ")
        ask = Ask(method, path, headers, body)
        reply = self.answer(ask)
        async with self._changed:
            self.asks.append(ask)
            self._changed.notify_all()
        await self._reply(writer, reply)

    async def _reply(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(reply.head if reply.raw is None else reply.raw)
        if reply.drip_s:
            for byte in reply.body:
                await asyncio.sleep(reply.drip_s)
                writer.write(bytes([byte]))
                await writer.drain()
        else:
            writer.write(reply.body)
            await writer.drain()
        while reply.is_endless:
            writer.write(CHUNK)
            await writer.drain()
        if reply.hangs:
            await asyncio.Event().wait()
