"""A client's web server that takes delivery reports, and misbehaves when it is told to.

Each call is kept as it came; what is answered is a function of the call.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

Json = dict[str, Any]


@dataclass
class Call:
    """One report as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def entries(self) -> list[Json]:
        report: list[Json] = json.loads(self.body)["delivery_report"]
        return report

    @property
    def ids(self) -> list[str]:
        return [entry["id"] for entry in self.entries]


@dataclass
class Reply:
    """What is answered: `drip_s` is the wait before each byte of the body, `hangs` never ends."""

    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: dict[str, str] = field(default_factory=dict)
    drip_s: float = 0.0
    hangs: bool = False


def ok(**fields: object) -> Reply:
    return Reply(body=json.dumps({"ok": True, **fields}).encode())


class FakeClient:
    """`answer` says what is replied to a call."""

    def __init__(self, answer: Callable[[Call], Reply] = lambda _call: ok()) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "FakeClient":
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
        """Close, and cut who is connected."""
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
    def entries(self) -> list[Json]:
        """All that was told, in order."""
        return [entry for call in self.calls for entry in call.entries]

    @property
    def full(self) -> list[Call]:
        """The calls that told something."""
        return [call for call in self.calls if call.entries]

    async def wait_for(
        self, condition: Callable[["FakeClient"], bool], timeout_s: float = 10
    ) -> None:
        """Return once something holds of what came; fail when it does not in time."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: condition(self))
        except TimeoutError:
            shown = [(len(call.entries), call.at) for call in self.calls[-20:]]
            raise AssertionError(f"not so after {timeout_s} s: {shown}") from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            # Cancelled by `stop`: asyncio would log it as an error of its own.
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
        call = Call(head[0].split(" ")[1], headers, body, asyncio.get_running_loop().time())
        reply = self.answer(call)
        async with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        if reply.hangs:
            await asyncio.Event().wait()
        await self._reply(writer, reply)

    async def _reply(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        headers = {"Content-Length": str(len(reply.body)), "Connection": "close", **reply.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{head}\r\n".encode())
        if not reply.drip_s:
            writer.write(reply.body)
            await writer.drain()
            return
        for byte in reply.body:
            await asyncio.sleep(reply.drip_s)
            writer.write(bytes([byte]))
            await writer.drain()
