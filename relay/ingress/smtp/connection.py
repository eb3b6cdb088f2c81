"""One client: its commands one after the other, our replies in their order, and its limits.

The home of aiosmtpd. We keep its protocol, its flow control and its `smtp_<VERB>` methods; reading,
replying and ending are ours, because its own would take bare LF for a line end, tell clients the
text of our exceptions, keep a client that says NOOP for ever, and cancel what is being stored when
the client drops.

Promises: each command gets one reply, in order, and replies to pipelined commands leave together
(RFC 2920 §3.2); each reply but the greeting has an enhanced status code (RFC 2034); a client's
drop ends the session at its next wait, and cuts nothing short.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar, cast

from aiosmtpd.smtp import SMTP

from relay import maillog
from relay.errors import Refused, RelayError, ShuttingDown, StoreUnavailable
from relay.ingress.smtp.connections import Connections, ip_of
from relay.ingress.smtp.inbox import Inbox, too_long
from relay.ingress.smtp.replies import Gone, Hangup, reply_for
from relay.ingress.smtp.settings import Endpoint, SmtpSettings

T = TypeVar("T")

LINE_MAX_OCTETS = 512  # RFC 5321 §4.5.3.1.4, line end included
COMMAND_MAX_OCTETS = 12_288  # RFC 4954 §4: the longest line, that of AUTH
# What the extensions add. MAIL: SIZE 26, BODY 17, SMTPUTF8 10, RET and ENVID 117, AUTH 500,
# HOLDUNTIL 34, BY 17, MT-PRIORITY 15. RCPT: NOTIFY and ORCPT 536.
LONGER_LINES = {"AUTH": COMMAND_MAX_OCTETS, "MAIL": LINE_MAX_OCTETS + 736, "RCPT": 1048}
SLOW_READER_BYTES = 65_536

# What web browsers and scripts say to a mail server by mistake or by malice (cross-protocol).
HTTP_VERBS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"})

# It logs each connection, command and DATA line: what we want to say is in `maillog`.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class Connection(SMTP):
    def __init__(
        self,
        settings: SmtpSettings,
        endpoint: Endpoint,
        connections: Connections,
        source_ip: str | None,
    ) -> None:
        """`source_ip` is the client's address where a proxy named it."""
        loop = asyncio.get_running_loop()
        # Not aiosmtpd's, which makes streams, hooks and lists of methods for each connection: a
        # fifth of what a connection costs, and nothing of it is used here.
        super(asyncio.StreamReaderProtocol, self).__init__(loop=loop)
        self.loop = loop
        self.peer_ip = ""
        self._source_ip = source_ip
        self.settings = settings
        self.endpoint = endpoint
        self.connections = connections
        self.inbox = Inbox()
        self.ends_at = loop.time() + settings.session_timeout_s
        self._replies = ""
        self._is_storing = False
        self._fruitless = 0
        self._errors = 0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer_ip = self._source_ip or ip_of(transport.get_extra_info("peername"))
        self._take_wire(cast(asyncio.Transport, transport))
        self.connections.add(self)
        self._talk = self.loop.create_task(self._handle_client())
        self.connections.keep(self._talk)

    def data_received(self, data: bytes) -> None:
        self.inbox.feed(data)

    def eof_received(self) -> bool:
        """Go on: who says no more may still wait for replies. In TLS nothing is half closed."""
        self.inbox.end()
        return not self.is_tls

    def connection_lost(self, error: Exception | None) -> None:
        # Not aiosmtpd's, which cancels the session.
        super(asyncio.StreamReaderProtocol, self).connection_lost(error)
        self.inbox.end()

    def _take_wire(self, wire: asyncio.Transport) -> None:
        self.wire = wire
        self.is_tls = wire.get_extra_info("sslcontext") is not None
        self.inbox.attach(wire)

    @property
    def tls_version(self) -> str | None:
        """Return the version that is spoken: TLSv1.3, for one."""
        wrapped = self.wire.get_extra_info("ssl_object")
        return wrapped.version() if wrapped is not None else None

    async def start_tls(self, context: ssl.SSLContext, handshake_s: float) -> None:
        """Go on inside TLS. What the client said before it is forgotten (RFC 3207 §4.2, §6).

        Raises Gone when the handshake fails.
        """
        self.inbox.clear()
        try:
            wrapped = await self.loop.start_tls(
                self.wire, self, context, server_side=True, ssl_handshake_timeout=handshake_s
            )
        except OSError as error:
            raise Gone from error
        if wrapped is None:
            raise Gone
        self._take_wire(wrapped)

    def dismiss(self) -> None:
        self.inbox.refuse_lines(ShuttingDown())

    def cut(self) -> None:
        self.wire.abort()
        # What is being stored comes to its end, and with it the session.
        if not self._is_storing:
            self._talk.cancel()

    async def uncut(self, work: Awaitable[T]) -> T:
        """Do what must come to its end even if the client goes away."""
        self._is_storing = True
        try:
            return await work
        finally:
            self._is_storing = False

    # The session's side.

    async def _handle_client(self) -> None:
        """Talk to the client until one of us has enough."""
        try:
            with suppress(Gone):
                await self._leave(await self._converse())
        finally:
            # Here, not in connection_lost: that is not called when a handshake is broken off.
            self.connections.remove(self)
            self.wire.close()

    async def _converse(self) -> str:
        """Obey command after command; return the last reply."""
        try:
            self._admit()
            self.reply(f"220 {self.settings.host_name} ESMTP Pillarbox")
            while True:
                await self._obey_next()
        except (Hangup, ShuttingDown) as error:
            return reply_for(error)

    def _admit(self) -> None:
        if self.connections.is_closing:
            raise ShuttingDown
        if not self.connections.has_room_for(self):
            raise Hangup("421 4.7.0 Too many connections")

    async def _obey_next(self) -> None:
        try:
            await self._obey(await self.read_line())
        except (Hangup, ShuttingDown, Gone):
            raise
        except Refused as refused:
            self.refuse(refused)
        except RelayError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not cost the client its mail
            self.fail(error)

    async def _obey(self, line: bytes) -> None:
        self._fruitless += 1
        if self._fruitless > self.settings.max_commands:
            raise Hangup("421 4.7.0 Too many commands")
        verb, argument = command(line)
        method = getattr(self, f"smtp_{verb}", None)
        if method is None:
            raise unknown(verb)
        await method(argument)

    async def read_line(self) -> bytes:
        """Return the next line; first the client gets the replies that it may wait for."""
        line = self.inbox.take_line(COMMAND_MAX_OCTETS)
        if line is None:
            await self.flush()
            deadline = min(self.loop.time() + self.settings.idle_timeout_s, self.ends_at)
            while line is None:
                await self.inbox.more(deadline)
                line = self.inbox.take_line(COMMAND_MAX_OCTETS)
        return line

    def reply(self, text: str) -> None:
        """Say it with the next flush."""
        self._replies += text + "\r\n"

    async def flush(self) -> None:
        if not self._replies or self.wire.is_closing():
            return
        self.wire.write(self._replies.encode())
        self._replies = ""
        if self.wire.get_write_buffer_size() > SLOW_READER_BYTES:
            await self._drain()

    async def _drain(self) -> None:
        """Wait for a client that sends commands and does not read what we say to them."""
        try:
            async with asyncio.timeout(self.settings.idle_timeout_s):
                # asyncio's own, which its types do not know.
                await self._drain_helper()  # type: ignore[attr-defined]
        except OSError as error:
            raise Gone from error

    def refuse(self, refused: Refused) -> None:
        """Say no, and goodbye to a client that does nothing right (RFC 5321 §7.8)."""
        self.reply(reply_for(refused))
        if refused.code >= 500:
            self._errors += 1
        if self._errors >= self.settings.max_errors:
            raise Hangup("421 4.7.0 Too many errors")

    def fail(self, error: Exception, reply: str | None = None) -> None:
        """Ask for another try: the trouble is ours. The client sees none of it, the log all."""
        if isinstance(error, StoreUnavailable):
            maillog.store_trouble(error)
        else:
            maillog.unexpected("smtp", error)
        self.reply(reply or reply_for(error if isinstance(error, RelayError) else RelayError()))

    def has_brought_mail(self) -> None:
        """Begin to count anew: what went before was not in vain."""
        self._fruitless = self._errors = 0

    def forgive_command(self) -> None:
        """Do not count the command that is answered now: it brings the mail further."""
        self._fruitless -= 1

    async def _leave(self, reply: str) -> None:
        self.reply(reply)
        await self.flush()


def command(line: bytes) -> tuple[str, str]:
    """Split a line into its verb, in upper case, and what follows it. Raises Refused.

    A line that ends with a bare LF is what smuggled commands look like (RFC 5321 §2.3.8).
    """
    if not line.endswith(b"\r\n"):
        raise Refused("Lines end with CR and LF", code=500, enhanced="5.5.2")
    verb, _, argument = line[:-2].decode("utf-8", "surrogateescape").partition(" ")
    verb = verb.upper()
    if len(line) > LINE_MAX_OCTETS and len(line) > LONGER_LINES.get(verb, LINE_MAX_OCTETS):
        raise too_long()
    return verb, argument.strip(" ")


def unknown(verb: str) -> Refused | Hangup:
    if verb in HTTP_VERBS:
        return Hangup("421 4.7.0 This is a mail server")
    return Refused("Command not known", code=500, enhanced="5.5.1")
