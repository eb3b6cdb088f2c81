"""One SMTP connection that is ready for mail, and the transactions on it.

aiosmtplib opens, secures and logs in (see `pool`); from then on the transport is ours, because it
pipelines nothing, hides which command failed, and copies the body. Promises:

- `offer` answers for every recipient, whatever the upstream does, and raises no error but the
  caller's own.
- What was refused stays refused. Lost before the final dot is deferred, lost after it is unknown.
- Every wait has a total deadline: a byte now and then does not prolong it.
- After anything but a clean reply to the last command the connection is not used again.

RFC 5321 §3.3, §4.1.1.4, §4.5.3.2 (timeouts); RFC 2920 (pipelining); RFC 1047 (the lost reply).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from relay.alarm import Alarm
from relay.dispatch.commands import Extensions, Offer, envelope_commands
from relay.dispatch.reply import Ledger, ProtocolError, Reply, ReplyParser
from relay.formats.headers import dot_stuff, dot_stuffing
from relay.model import Outcome
from relay.turns import in_turns

__all__ = ["Extensions", "Offer", "Session", "Timeouts"]

# So much is written at once, without a look at how fast the upstream reads.
SMALL_BYTES = 128 * 1024
BLOCK_BYTES = 256 * 1024
QUIT_S = 2.0
END_OF_MAIL = b".\r\n"

BeforeData = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`data_s` bounds the body and the reply to its dot, longer where the size asks for it.

    `rcpt_s` is what each recipient adds to the time for the envelope.
    """

    command_s: float
    data_s: float
    min_rate_bytes_s: float
    rcpt_s: float = 5.0
    data_start_s: float = 60.0

    def envelope_s(self, recipients: int) -> float:
        return self.command_s + self.rcpt_s * recipients

    def body_s(self, size_bytes: int) -> float:
        return max(self.data_s, self.data_start_s + size_bytes / self.min_rate_bytes_s)


class Session(asyncio.Protocol):
    """Takes over a transport on which EHLO, TLS and AUTH are done.

    `mails` counts the transactions begun. `worn_out`: the last offer met only the end of a
    connection that had carried mail before. Nothing was said of that mail: offer it on another
    connection and count no attempt. `takes_mails`: so many it took before 421 answered the next.
    `needs_reset`: the upstream still holds an envelope; the next offer or `reset` ends it.
    """

    def __init__(
        self, transport: asyncio.Transport, extensions: Extensions, timeouts: Timeouts
    ) -> None:
        self.extensions = extensions
        self.mails = 0
        self.worn_out = False
        self.takes_mails: int | None = None
        self.needs_reset = False
        self._transport = transport
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._replies: list[Reply] = []
        self._missing = 0
        self._go_on: Callable[[], bool] | None = None
        self._is_stray = False
        self._is_writable = True
        self._is_in_blocks = False
        self._lost = "connection lost" if transport.is_closing() else None
        self._closed = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = Alarm(partial(self.abort, "timed out"))
        transport.set_protocol(self)

    @property
    def reusable(self) -> bool:
        """True after a complete reply to the last command, with nothing unread or uncalled for."""
        return self._lost is None and not self._is_stray and self._parser.is_empty

    @property
    def tls_version(self) -> str | None:
        """Name the version of TLS in use; None: in clear."""
        connection = self._transport.get_extra_info("ssl_object")
        version: str | None = connection.version() if connection else None
        return version

    async def offer(self, mail: Offer, before_data: BeforeData) -> list[Outcome]:
        """Offer the mail; one Outcome per recipient, in order.

        `before_data` is awaited once, before the first byte after which the upstream may take the
        mail: if it raises, nothing was taken and its error is raised. ValueError: an address is not
        fit for the wire; nothing was written.
        """
        commands = envelope_commands(mail, self.extensions)
        if self.needs_reset:
            await self.reset(self._timeouts.command_s)
        if self.extensions.pipelining and self._lost is None:
            await before_data()
        self.mails += 1
        ledger = Ledger(mail.recipients)
        deadline = self._loop.time() + self._timeouts.envelope_s(len(mail.recipients))
        try:
            if self.extensions.pipelining:
                await self._ask(commands, mail, ledger, deadline)
                self._tell(ledger)
            elif await self._say_in_lockstep(commands, ledger, before_data, deadline):
                await self._ask([], mail, ledger, deadline)
                self._tell(ledger)
            if ledger.granted and not ledger.dot_written and ledger.is_open:
                await self._send_in_blocks(mail, ledger)
        except BaseException:
            # Cancelled or fenced off half way: a reply to this mail must never meet the next one.
            self.abort("given up half way")
            raise
        self._conclude(ledger)
        return ledger.outcomes()

    async def reset(self, timeout_s: float) -> bool:
        """Probe the connection with RSET, which also ends an envelope that was left open."""
        try:
            await self._say(b"RSET\r\n", 1, self._loop.time() + timeout_s)
        except BaseException:
            self.abort("given up half way")
            raise
        if not self._replies or self._replies[0].code != 250:
            self.abort("RSET refused")
        self.needs_reset = False
        return self.reusable

    async def quit(self) -> None:
        """Say QUIT and close, without waiting for an answer that could change nothing."""
        if self._lost is None:
            self._transport.write(b"QUIT\r\n")
        self._close("closed")
        try:
            async with asyncio.timeout(QUIT_S):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()

    def abort(self, reason: str) -> None:
        """End the connection at once; what was not yet sent is not sent."""
        self._lose(reason)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for reply in self._parser.feed(data):
                if not self._missing:
                    self._be_told_unasked(reply)
                    continue
                self._replies.append(reply)
                # RFC 5321 §3.8: after 421 it closes, whatever else was asked.
                self._missing = 0 if reply.code == 421 else self._missing - 1
        except ProtocolError as error:
            self.abort(str(error))
        if self._missing:
            return
        go_on, self._go_on = self._go_on, None
        if go_on is None or not go_on():
            self._wake()

    def eof_received(self) -> None:
        self._lose("connection closed by the upstream")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"connection lost: {exc}" if exc else "connection closed by the upstream")
        self._closed.set()
        self._alarm.close()

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._is_in_blocks:
            self._wake()

    async def _say_in_lockstep(
        self, commands: list[bytes], ledger: Ledger, before_data: BeforeData, deadline: float
    ) -> bool:
        """Say MAIL and each RCPT for itself; False where nobody is left then."""
        for command in commands:
            await self._say(command, 1, deadline)
            self._tell(ledger)
            if not ledger.is_open:
                return False
        await before_data()
        return True

    def _ask(
        self, commands: list[bytes], mail: Offer, ledger: Ledger, deadline: float
    ) -> "asyncio.Future[None]":
        """Say these commands and DATA; done when they are answered, or even a small mail is."""
        if len(mail.content) <= SMALL_BYTES:
            body = dot_stuff(mail.content, is_dotless=mail.is_dotless) + END_OF_MAIL
            self._go_on = partial(self._write_at_once, body, ledger)
        return self._say(b"".join((*commands, b"DATA\r\n")), len(commands) + 1, deadline)

    def _write_at_once(self, body: bytes, ledger: Ledger) -> bool:
        """Write a small mail as soon as it is granted; False where it is not."""
        ledger.hear(self._replies)
        self._replies = []
        if not (ledger.granted and ledger.is_open) or self._lost is not None:
            return False
        self._missing = 1
        ledger.dot_written = True
        self._transport.write(body)
        self._alarm.set(self._loop.time() + self._timeouts.body_s(len(body)))
        return True

    async def _send_in_blocks(self, mail: Offer, ledger: Ledger) -> None:
        body = await in_turns(dot_stuffing(mail.content, is_dotless=mail.is_dotless))
        deadline = self._loop.time() + self._timeouts.body_s(len(body))
        self._expect(1)
        self._is_in_blocks = True
        if self._lost is None:
            ledger.dot_written = await self._write_blocks(memoryview(body), deadline)
        self._is_in_blocks = False
        if ledger.dot_written:
            await self._change(deadline)
            self._tell(ledger)
        else:
            self._tell(ledger)
            # Never close gently here: half a mail must not look like a whole one.
            self.abort("given up half way")

    async def _write_blocks(self, body: memoryview, deadline: float) -> bool:
        """Write as fast as the upstream reads; False where it hung up or spoke before the dot."""
        last = max(0, len(body) - BLOCK_BYTES)
        for start in range(0, last, BLOCK_BYTES):
            self._transport.write(body[start : min(start + BLOCK_BYTES, last)])
            # Let the loop report a loss before more is written, and others have their turn.
            await asyncio.sleep(0)
            if not self._is_writable and self._missing:
                await self._change(deadline)
            if self._lost is not None or self._replies:
                return False
        self._transport.write(b"".join((body[last:], END_OF_MAIL)))
        return True

    def _conclude(self, ledger: Ledger) -> None:
        """Leave the connection so that it can be used again, or close it."""
        self.needs_reset = ledger.envelope_left
        carried = self.mails - 1
        self.worn_out = ledger.says_nothing and carried > 0
        if ledger.turned_away and carried:
            self.takes_mails = carried
        if self._lost is not None:
            return
        if ledger.granted and not ledger.dot_written:
            # RFC 2920 §3.1: it waits for a mail that is for nobody, so it gets an empty one.
            self._transport.write(END_OF_MAIL)
            self._close("nobody was left")
        elif not ledger.in_step:
            self._close("out of step")

    def _say(self, words: bytes, replies: int, deadline: float) -> "asyncio.Future[None]":
        """Write; done when that many replies are there; fewer mean 421 or the end."""
        self._expect(replies)
        if self._lost is None:
            self._transport.write(words)
        return self._change(deadline)

    def _expect(self, replies: int) -> None:
        self._replies = []
        self._missing = replies

    def _tell(self, ledger: Ledger) -> None:
        ledger.hear(self._replies)
        if self._lost is not None:
            ledger.lose(self._lost)

    def _be_told_unasked(self, reply: Reply) -> None:
        """Take what answers nothing: who knows what else follows."""
        self._is_stray = True
        if reply.code == 421:
            self._close(f"421 {reply.text}")

    def _change(self, deadline: float) -> "asyncio.Future[None]":
        """Return what is done when the replies are there, or more can be written, or the connection
        ended; the deadline ends the connection.
        """
        changed = self._loop.create_future()
        if self._lost is None:
            self._waiter = changed
            self._alarm.set(deadline)
        else:
            changed.set_result(None)
        return changed

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            self._alarm.off()
            waiter.set_result(None)

    def _lose(self, reason: str) -> None:
        """Remember the first reason and wake who waits."""
        if self._lost is None:
            self._lost = reason
        self._wake()

    def _close(self, reason: str) -> None:
        self._lose(reason)
        self._transport.close()
