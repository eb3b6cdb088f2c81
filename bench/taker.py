"""An SMTP server that takes any mail and drops it: where smtp-sink cannot be used, because mail
comes inside TLS, or because it matters when each came.

    python -m bench.taker PORT CERTIFICATE KEY

Run so, it counts as smtp-sink does. It offers pipelining (RFC 2920) and knows the few commands that
a relay gives.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

from bench.certificate import Certificate
from bench.command import stop_in_order

EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n"
END_OF_MAIL = b"\r\n.\r\n"
COUNT_EVERY_S = 0.005

OnMail = Callable[[bytes], None]


class Taker(asyncio.Protocol):
    """`on_mail` is called with each sender's command, once the mail is there."""

    def __init__(self, on_mail: OnMail) -> None:
        self._on_mail = on_mail
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._sender = b""
        self._is_in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport.write(b"220 sink.test\r\n")

    def data_received(self, data: bytes) -> None:
        self._unread += data
        replies = b""
        while reply := self._mail() if self._is_in_mail else self._command():
            replies += reply
        assert self._transport is not None
        self._transport.write(replies)
        if replies.endswith(b"221 bye\r\n"):
            self._transport.close()

    def _mail(self) -> bytes:
        """Drop the mail as it comes; answer once its end is there."""
        before, end, after = self._unread.partition(END_OF_MAIL)
        if not end:
            self._unread = before[-len(END_OF_MAIL) :]
            return b""
        self._unread, self._is_in_mail = after, False
        self._on_mail(self._sender)
        return b"250 taken\r\n"

    def _command(self) -> bytes:
        line, end, after = self._unread.partition(b"\r\n")
        if not end:
            return b""
        self._unread = after
        return self._answer(line)

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return EHLO
            case b"MAIL":
                self._sender = line
            case b"DATA":
                # The mail may be empty: its end stands at the start of a line, as this one does.
                self._unread, self._is_in_mail = b"\r\n" + self._unread, True
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 bye\r\n"
        return b"250 ok\r\n"


async def run(port: int, certificate: Certificate) -> None:
    """Take mail inside TLS for ever, and say how many."""
    mails = 0

    def count(_sender: bytes) -> None:
        nonlocal mails
        mails += 1

    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Taker(count), "127.0.0.1", port, ssl=certificate.server())
    said = 0
    while True:
        await asyncio.sleep(COUNT_EVERY_S)
        if mails != said:
            said = mails
            print(f"mesg={mails}", end="\r", flush=True)


if __name__ == "__main__":
    stop_in_order()
    uvloop.run(run(int(sys.argv[1]), Certificate(Path(sys.argv[2]), Path(sys.argv[3]))))
