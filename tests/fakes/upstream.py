"""A real SMTP server on a loopback port that misbehaves as told and remembers every mail.

    async with FakeUpstream(on={"RCPT": {"bob@b.test": "550 5.1.1 no such user"}}) as upstream:
        account = upstream.account()
        ...
        [mail] = await upstream.wait_for(1)

`on` maps a moment of the dialogue to what happens there. Moments: GREETING, EHLO, STARTTLS, AUTH,
MAIL, RCPT, DATA, DOT (the mail is read and its reply is due), RSET, NOOP, QUIT. What happens is

- a reply such as "450 4.7.1 later" (without CRLF; several lines where it holds "\\r\\n"),
- DROP (close without a word), HANG (say nothing, ever), RESET (the same by TCP reset),
- NO_TLS (at STARTTLS: say 220, and answer the handshake with what is no TLS),
- Slowly("250 ok", byte_s): one byte at a time,  Raw(b"...", drop=False): exactly these bytes,
- None: the ordinary answer,
- a function of the Moment that returns one of these, or a coroutine of it,
- a list: the k-th time its k-th element, then the ordinary answer,
- a dict (RCPT and MAIL): any of these by address; who is not in it gets the ordinary answer.

`on` may be changed while the server runs. A mail counts as received when its DOT is answered 2xx;
one that was read and not so answered is in `cut`. `drop_at` and `hang_at` name a moment for short.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import trustme

from relay.model import Account, TlsMode
from tests.fakes.dialogue import READ_BYTES, Dialogue, OverError
from tests.fakes.script import (
    DROP,
    HANG,
    NO_TLS,
    RESET,
    Action,
    Moment,
    Raw,
    Received,
    Rule,
    Slowly,
)

__all__ = [
    "DROP",
    "EXTENSIONS",
    "HANG",
    "LOCKSTEP",
    "NO_TLS",
    "RESET",
    "Action",
    "FakeUpstream",
    "Moment",
    "Raw",
    "Received",
    "Rule",
    "Slowly",
]

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
LOCKSTEP = tuple(name for name in EXTENSIONS if name != "PIPELINING")


class FakeUpstream:
    """See the module. `received`, `commands` ("RSET", "MAIL FROM:<…>"), `logins`, `peak` are read
    by tests.
    """

    def __init__(
        self,
        *,
        on: Mapping[str, Rule] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        users: Mapping[str, str] | None = None,
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN"),
        ca: trustme.CA | None = None,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
        valid_until: datetime | None = None,
        starttls: bool = False,
        implicit_tls: bool = False,
        drop_at: str | None = None,
        hang_at: str | None = None,
        delays: Mapping[str, float] | None = None,
        mails_per_connection: int | None = None,
        recipients_per_mail: int | None = None,
        idle_close_s: float | None = None,
        keeps_content: bool = True,
    ) -> None:
        self.on: dict[str, Rule] = dict(on or {})
        if drop_at is not None:
            self.on[drop_at.upper()] = DROP
        if hang_at is not None:
            self.on[hang_at.upper()] = HANG
        self.extensions = tuple(extensions)
        self.users = dict(users or {})
        self.mechanisms = tuple(mechanisms)
        self.starttls = starttls
        self.implicit_tls = implicit_tls
        self.delays = dict(delays or {})
        self.mails_per_connection = mails_per_connection
        self.recipients_per_mail = recipients_per_mail
        self.idle_close_s = idle_close_s
        self.keeps_content = keeps_content
        self.tls_context = _server_context(ca, names, valid_until) if ca is not None else None
        self.received: list[Received] = []
        self.cut: list[Received] = []
        self.commands: list[str] = []
        self.logins: list[str] = []
        self.connections = 0
        self.open = 0
        self.peak = 0
        self.port = 0
        self._used: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeUpstream":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen. A port that was ours before can be given, to come back after `stop`."""
        self._server = await asyncio.start_server(
            self._serve,
            "127.0.0.1",
            port or self.port,
            limit=READ_BYTES,
            ssl=self.tls_context if self.implicit_tls else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse newcomers and end every connection."""
        if self._server is not None:
            self._server.close()
            self.hang_up()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    def hang_up(self) -> None:
        """End every open connection without a word."""
        for task in self._tasks:
            task.cancel()

    async def wait_for(self, mails: int, timeout_s: float = 10.0) -> list[Received]:
        """Wait until so many mails were received in all; return them."""
        return await self._wait(lambda: len(self.received) >= mails, timeout_s)

    async def wait_until_closed(self, timeout_s: float = 10.0) -> None:
        """Wait until no connection is open."""
        await self._wait(lambda: self.open == 0, timeout_s)

    async def wait_for_connection(self, connections: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until so many connections were made in all."""
        await self._wait(lambda: self.connections >= connections, timeout_s)

    async def wait_for_command(self, start: str, timeout_s: float = 10.0) -> None:
        """Wait until a command that starts so was read."""
        await self._wait(lambda: any(c.startswith(start) for c in self.commands), timeout_s)

    async def _wait(self, holds: Callable[[], bool], timeout_s: float) -> list[Received]:
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._arrived.clear()
                await self._arrived.wait()
        return self.received

    def account(self, **changes: Any) -> Account:
        """Return an account that leads here; in clear unless the server speaks TLS."""
        tls = TlsMode.STARTTLS if self.starttls else TlsMode.NONE
        values: dict[str, Any] = {
            "tenant_id": "acme",
            "id": "main",
            "host": "127.0.0.1",
            "port": self.port,
            "tls": TlsMode.IMPLICIT if self.implicit_tls else tls,
            "tls_given": True,
        }
        return Account(**(values | changes))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        self.notify()
        dialogue = Dialogue(self, reader, writer, self.connections)
        try:
            await dialogue.run()
        except (OSError, OverError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open -= 1
            self.notify()
            # Not a gentle close: a peer that is gone would hold up the TLS farewell.
            writer.transport.abort() if dialogue.aborts else writer.close()

    def notify(self) -> None:
        self._arrived.set()

    async def action(self, moment: Moment) -> Action:
        """Find what `on` says of this moment."""
        delay_s = self.delays.get(moment.verb)
        if delay_s is not None:
            await asyncio.sleep(delay_s)
        place = moment.verb
        rule = self.on.get(place)
        if isinstance(rule, Mapping):
            place += moment.argument
            rule = rule.get(moment.argument)
        if isinstance(rule, list):
            k = self._used.get(place, 0)
            self._used[place] = k + 1
            return rule[k] if k < len(rule) else None
        if callable(rule):
            told = rule(moment)
            return await told if isinstance(told, Awaitable) else told
        return rule


def _server_context(
    ca: trustme.CA, names: Sequence[str], valid_until: datetime | None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, not_after=valid_until).configure_cert(context)
    return context
