"""The bytes a client sent that nobody has read yet.

Promises: bounded memory (over `HIGH_BYTES` the transport is paused), no wait without a deadline,
lines for commands and blocks for content from one buffer, so that commands pipelined behind a mail
are found where they belong (RFC 2920).

A client that has left is a Gone, raised when what it sent before is used up; one that lets us wait
is a Hangup.
"""

import asyncio

from relay.alarm import Alarm
from relay.errors import Refused, RelayError
from relay.ingress.smtp.replies import Gone, Hangup

HIGH_BYTES = 262_144
MOST_SKIPPED_BYTES = 1_048_576


class Inbox:
    __slots__ = (
        "_alarm",
        "_buffer",
        "_has_ended",
        "_is_paused",
        "_loop",
        "_refusal",
        "_skipped_bytes",
        "_transport",
        "_waiter",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._ring)
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._refusal: RelayError | None = None
        self._skipped_bytes = 0
        self._is_paused = False
        self._has_ended = False

    def now(self) -> float:
        """Return the time that deadlines are told in."""
        return self._loop.time()

    def attach(self, transport: asyncio.Transport) -> None:
        """Name the transport that brings the bytes, to be paused."""
        self._transport = transport
        self._is_paused = False

    def clear(self) -> None:
        """Forget what was not read."""
        self._buffer.clear()
        self._resume()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > HIGH_BYTES and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        if self._waiter is not None:
            self._wake()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._has_ended = True
        self._alarm.close()
        self._wake()

    def refuse_lines(self, error: RelayError) -> None:
        """Raise this to whoever waits, or will wait, for a command; content still comes in."""
        self._refusal = error
        self._wake()

    @property
    def is_empty(self) -> bool:
        return not self._buffer

    def take_line(self, longest: int) -> bytes | None:
        """Return one line with its line end; None where its end is not there. Of one that is too
        long nothing is kept. Raises Refused when its end is there, Hangup where it has none.
        """
        if self._refusal is not None:
            raise self._refusal
        buffer = self._buffer
        end = buffer.find(b"\n") + 1
        if not end:
            self._skip(longest)
            return None
        line = bytes(buffer) if end == len(buffer) else bytes(buffer[:end])
        del buffer[:end]
        if self._is_paused:
            self._resume()
        if self._skipped_bytes or len(line) > longest:
            self._skipped_bytes = 0
            raise too_long()
        return line

    def _skip(self, longest: int) -> None:
        if len(self._buffer) <= longest:
            return
        self._skipped_bytes += len(self._buffer)
        self.clear()
        if self._skipped_bytes > MOST_SKIPPED_BYTES:
            raise Hangup("421 4.7.0 That line has no end")

    async def block(self, deadline: float) -> bytearray:
        """Return all that there is, at least one byte."""
        while not self._buffer:
            await self.more(deadline)
        taken, self._buffer = self._buffer, bytearray()
        if self._is_paused:
            self._resume()
        return taken

    def put_back(self, rest: bytearray) -> None:
        """Give back the end of the block that was taken last."""
        self._buffer[0:0] = rest

    async def more(self, deadline: float) -> None:
        """Wait for more; for a refusal of lines, too."""
        if self._has_ended:
            raise Gone
        self._waiter = self._loop.create_future()
        # Not turned off afterwards: where nobody waits it rings for nobody.
        self._alarm.set(deadline)
        await self._waiter

    def _ring(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(Hangup("421 4.7.0 That took too long"))

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _resume(self) -> None:
        if self._is_paused and self._transport and len(self._buffer) <= HIGH_BYTES // 2:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()


def too_long() -> Refused:
    return Refused("Line too long", code=500, enhanced="5.5.2")
