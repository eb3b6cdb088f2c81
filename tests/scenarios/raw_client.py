"""A client that says octets and hears replies, to a live SMTP door."""

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def client(
    port: int, tls: ssl.SSLContext | None = None, *, source_ip: str | None = None
) -> AsyncIterator["Raw"]:
    """`source_ip` is the address of this machine to come from."""
    source = (source_ip, 0) if source_ip else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, local_addr=source)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Raw:
    """A client that says octets and hears replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> str:
        """Return the last line of the next reply, "" when the server has left."""
        async with asyncio.timeout(30):
            line = await self.reader.readline()
            while line[3:4] == b"-":
                line = await self.reader.readline()
        return line.decode().rstrip()

    async def say(self, text: str) -> str:
        self.writer.write(f"{text}\r\n".encode())
        return await self.hear()

    async def log_in(self, user: str = "ann", password: str = "secret") -> None:
        await self.hear()
        await self.say("EHLO client.test")
        words = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        assert (await self.say(f"AUTH PLAIN {words}")).startswith("235")

    async def envelope(self) -> str:
        await self.say("MAIL FROM:<ann@acme.test>")
        return await self.say("RCPT TO:<x@there.test>")

    async def reach_data(self) -> None:
        await self.log_in()
        await self.envelope()
        assert (await self.say("DATA")).startswith("354")

    async def send(self, content: bytes) -> str:
        await self.reach_data()
        self.writer.write(content + b"\r\n.\r\n")
        return await self.hear()

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
