"""SMTP load: many sessions that send as fast as they are answered, at little cost of their own.

One command at a time, as most clients do: four round trips a mail. A refusal ends the measurement.
"""

import asyncio
import base64
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from bench.pillarbox import Login

HEADER = (
    b"From: <app@bench.test>\r\n"
    b"To: <bob@bench.test>\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <load@bench.test>\r\n"
    b"Subject: load\r\n"
    b"\r\n"
)
LINE = b"x" * 74 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """`keeps` sends all mails of a session on one connection, else each has its own; with `tls`
    each is inside TLS from its first byte.
    """

    port: int
    mails: int
    size_bytes: int
    keeps: bool
    login: Login | None = None
    tls: ssl.SSLContext | None = None
    sessions: int = 20


@dataclass(frozen=True, slots=True)
class Sent:
    """When (monotonic) the first session connected, the last mail was answered, and the last
    session ended; the times from MAIL to the last reply.
    """

    began_at: float
    answered_at: float
    ended_at: float
    waits_s: list[float]


class RefusedError(Exception):
    """The server said no."""


async def send(load: Load) -> Sent:
    """Put the load on the server and wait until it has taken all of it. Raises RefusedError."""
    run = _Run(load, _body(load.size_bytes), load.mails)
    began_at = time.monotonic()
    async with asyncio.TaskGroup() as sessions:
        for _ in range(load.sessions):
            sessions.create_task(_session(run))
    return Sent(began_at, run.answered_at, time.monotonic(), run.waits_s)


@dataclass(slots=True)
class _Run:
    load: Load
    body: bytes
    left: int
    answered_at: float = 0.0
    waits_s: list[float] = field(default_factory=list)

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


async def _session(run: _Run) -> None:
    loop = asyncio.get_running_loop()
    while run.left > 0:
        ended: asyncio.Future[None] = loop.create_future()
        dialogue = _dialogue(run)
        await loop.create_connection(
            lambda d=dialogue, e=ended: _Connection(d, e),
            "127.0.0.1",
            run.load.port,
            ssl=run.load.tls,
        )
        await ended


def _dialogue(run: _Run) -> Iterator[bytes]:
    """Yield what to say next; it goes on when that was answered."""
    load = run.load
    yield b""  # the greeting
    yield b"EHLO bench.test\r\n"
    if load.login is not None:
        words = f"\0{load.login.user}\0{load.login.password}".encode()
        yield b"AUTH PLAIN " + base64.b64encode(words) + b"\r\n"
    while run.take():
        began_at = time.monotonic()
        yield b"MAIL FROM:<app@bench.test>\r\n"
        yield b"RCPT TO:<bob@bench.test>\r\n"
        yield b"DATA\r\n"
        yield run.body
        run.answered_at = time.monotonic()
        run.waits_s.append(run.answered_at - began_at)
        if not load.keeps:
            break
    yield b"QUIT\r\n"


def _body(size_bytes: int) -> bytes:
    lines = -(-(size_bytes - len(HEADER)) // len(LINE))
    return (HEADER + LINE * lines)[: size_bytes - 2] + b"\r\n.\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, dialogue: Iterator[bytes], ended: asyncio.Future[None]) -> None:
        self._dialogue = dialogue
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        next(self._dialogue)

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        for line in lines:
            if line[:1] not in b"23":
                self._fail(RefusedError(line.decode(errors="replace")))
            elif line[3:4] != b"-":
                self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc or RefusedError("the server closed the connection"))

    def _go_on(self) -> None:
        assert self._transport is not None
        try:
            self._transport.write(next(self._dialogue))
        except StopIteration:
            if not self._ended.done():
                self._ended.set_result(None)
            self._transport.close()

    def _fail(self, error: RefusedError) -> None:
        assert self._transport is not None
        if not self._ended.done():
            self._ended.set_exception(error)
        self._transport.abort()
