"""One connection of the fake upstream: the SMTP that it speaks when it is told nothing else."""

import asyncio
import base64
import hashlib
import hmac
import re
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

from tests.fakes.script import HANG, NO_TLS, RESET, Moment, Raw, Received, Sign, Slowly

if TYPE_CHECKING:
    from tests.fakes.upstream import FakeUpstream

READ_BYTES = 256 * 1024
_PATH = re.compile(rb"(?:FROM|TO):\s*<(.*)>\s*([^>]*)", re.IGNORECASE | re.DOTALL)


class OverError(Exception):
    """The dialogue is at its end."""


class Dialogue:
    """One connection."""

    def __init__(
        self,
        upstream: "FakeUpstream",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self.aborts = False
        self._upstream = upstream
        self._reader = reader
        self._writer = writer
        self._number = number
        self._buffer = bytearray()
        self._out = bytearray()
        self._tls = upstream.implicit_tls
        self._user: str | None = None
        self._mails = 0
        self._clear()

    def _clear(self) -> None:
        self._sender: str | None = None
        self._mail_parameters = ""
        self._recipients: list[str] = []
        self._rcpt_parameters: list[str] = []

    async def run(self) -> None:
        await self._answer("GREETING", "", "220 fake.test ESMTP")
        verbs = {
            "EHLO": self._ehlo,
            "HELO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
        }
        while True:
            line = await self._line()
            words = line.decode("utf-8", "replace")
            self._upstream.commands.append(words)
            self._upstream.notify()
            verb, _, argument = words.partition(" ")
            verb = verb.upper()
            if verb in verbs:
                await verbs[verb](argument)
            elif verb == "QUIT":
                await self._answer("QUIT", argument, "221 2.0.0 bye")
                await self._flush()
                return
            else:
                known = verb in ("NOOP", "HELP", "VRFY")
                await self._answer(verb, argument, "250 2.0.0 ok" if known else "500 5.5.2 what?")

    async def _ehlo(self, argument: str) -> None:
        self._clear()
        offers = ["fake.test", *self._upstream.extensions]
        if self._upstream.starttls and not self._tls:
            offers.append("STARTTLS")
        if self._upstream.users:
            offers.append("AUTH " + " ".join(self._upstream.mechanisms))
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        await self._answer("EHLO", argument, "\r\n".join(lines))

    async def _starttls(self, argument: str) -> None:
        if not await self._answer("STARTTLS", argument, "220 2.0.0 go"):
            return
        await self._flush()
        self._buffer.clear()
        context = self._upstream.tls_context
        assert context is not None
        try:
            await self._writer.start_tls(context)
        except (OSError, ssl.SSLError):
            self.aborts = True
            raise
        self._tls = True

    async def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        check = {"PLAIN": self._plain, "LOGIN": self._login, "CRAM-MD5": self._cram}
        if mechanism not in self._upstream.mechanisms:
            await self._answer("AUTH", argument, "504 5.5.4 no such mechanism")
            return
        user = await check[mechanism](initial)
        self._upstream.logins.append(mechanism)
        if await self._answer(
            "AUTH", argument, "235 2.7.0 welcome" if user else "535 5.7.8 wrong login"
        ):
            self._user = user

    async def _plain(self, initial: str) -> str | None:
        _, user, password = base64.b64decode(initial).decode().split("\0")
        return self._known(user, password)

    async def _login(self, initial: str) -> str | None:
        user = base64.b64decode(initial).decode()
        password = base64.b64decode(await self._ask("334 UGFzc3dvcmQ6")).decode()
        return self._known(user, password)

    async def _cram(self, initial: str) -> str | None:
        challenge = b"<1.1@fake.test>"
        answer = await self._ask("334 " + base64.b64encode(challenge).decode())
        user, digest = base64.b64decode(answer).decode().split(" ")
        key = self._upstream.users.get(user, "").encode()
        right = hmac.new(key, challenge, hashlib.md5).hexdigest() == digest
        return user if right else None

    def _known(self, user: str, password: str) -> str | None:
        return user if self._upstream.users.get(user) == password else None

    async def _ask(self, challenge: str) -> bytes:
        self._out += challenge.encode() + b"\r\n"
        return await self._line()

    async def _mail(self, argument: str) -> None:
        address, parameters = _path(argument)
        normal = "250 2.1.0 ok"
        limit = self._upstream.mails_per_connection
        if self._upstream.users and self._user is None:
            normal = "530 5.7.0 log in first"
        elif self._sender is not None:
            normal = "503 5.5.1 one mail at a time"
        elif limit is not None and self._mails >= limit:
            normal = "421 4.7.0 too many mails on this connection"
        self._mails += 1
        if await self._answer("MAIL", address, normal):
            self._sender = address
            self._mail_parameters = parameters
        elif normal.startswith("421"):
            await self._flush()
            raise OverError

    async def _rcpt(self, argument: str) -> None:
        address, parameters = _path(argument)
        limit = self._upstream.recipients_per_mail
        normal = "250 2.1.5 ok"
        if self._sender is None:
            normal = "503 5.5.1 MAIL first"
        elif limit is not None and len(self._recipients) >= limit:
            normal = "452 4.5.3 too many recipients"
        if await self._answer("RCPT", address, normal):
            self._recipients.append(address)
            self._rcpt_parameters.append(parameters)

    async def _data(self, argument: str) -> None:
        normal = "354 go on" if self._recipients else "554 5.5.1 no valid recipients"
        if not await self._answer("DATA", argument, normal):
            return
        content = await self._body()
        mail = Received(
            self._sender or "",
            tuple(self._recipients),
            content,
            self._tls,
            self._user,
            time.time(),
            self._number,
            self._mail_parameters,
            tuple(self._rcpt_parameters),
        )
        # Told before the answer, so that a test can look while the answer hangs.
        self._upstream.cut.append(mail)
        self._upstream.notify()
        taken = await self._answer("DOT", "", f"250 2.0.0 queued as {self._number}.{self._mails}")
        self._clear()
        if taken:
            self._upstream.cut.remove(mail)
            self._upstream.received.append(mail)
            self._upstream.notify()

    async def _rset(self, argument: str) -> None:
        self._clear()
        await self._answer("RSET", argument, "250 2.0.0 ok")

    async def _answer(self, verb: str, argument: str, normal: str) -> bool:
        """Do what is told for this moment, else say the ordinary reply; True for 2xx and 3xx."""
        moment = Moment(
            verb,
            argument,
            self._number,
            self._mails,
            len(self._upstream.received),
            self._sender or "",
            tuple(self._recipients),
        )
        action = await self._upstream.action(moment)
        if isinstance(action, Sign):
            await self._sign(action)
        if isinstance(action, Slowly):
            await self._flush()
            for byte in action.reply.encode() + b"\r\n":
                await asyncio.sleep(action.byte_s)
                self._writer.write(bytes([byte]))
            return action.reply[0] in "23"
        if isinstance(action, Raw):
            self._out += action.data
            await self._flush()
            if action.drop:
                raise OverError
            return action.data[:1] in (b"2", b"3")
        reply = action if isinstance(action, str) else normal
        self._out += reply.encode() + b"\r\n"
        if isinstance(action, str) and action.startswith("421"):
            await self._flush()
            raise OverError
        return reply[0] in "23"

    async def _sign(self, action: Sign) -> None:
        await self._flush()
        if action is HANG:
            while True:
                await self._fill()
        if action is NO_TLS:
            self._out += b"220 2.0.0 go\r\n"
            await self._flush()
            await self._fill()
            self._out += b"this is no TLS\r\n"
            await self._flush()
        if action is RESET:
            # SO_LINGER of zero: the close is a RST.
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.aborts = True
        raise OverError

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            await self._flush()
            await self._fill()
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    async def _body(self) -> bytes:
        """Read block-wise up to the dot; return the content with the dots unstuffed."""
        await self._flush()
        # The end is looked for with the CRLF of the line before, here that of DATA itself.
        body = bytearray(b"\r\n") + self._buffer
        self._buffer.clear()
        seen = 0
        while (end := body.find(b"\r\n.\r\n", max(0, seen - 4))) < 0:
            if not self._upstream.keeps_content:
                del body[:-4]
            seen = len(body)
            await self._fill()
            body += self._buffer
            self._buffer.clear()
        self._buffer += body[end + 5 :]
        if not self._upstream.keeps_content:
            return b""
        del body[end + 2 :]
        return bytes(body.replace(b"\r\n.", b"\r\n"))[2:]

    async def _fill(self) -> None:
        async with asyncio.timeout(self._upstream.idle_close_s):
            data = await self._reader.read(READ_BYTES)
        if not data:
            raise OverError
        self._buffer += data

    async def _flush(self) -> None:
        """Write what was gathered: replies to pipelined commands go out together (RFC 2920)."""
        if self._out:
            self._writer.write(bytes(self._out))
            self._out.clear()
            await self._writer.drain()


def _path(argument: str) -> tuple[str, str]:
    match = _PATH.match(argument.encode())
    if match is None:
        return argument, ""
    return match[1].decode(), match[2].decode()
