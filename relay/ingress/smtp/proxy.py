"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a load balancer says whose
connection it hands on, before anything else and before TLS.

Promises: it is asked of the networks that are listed, and of no other address: who is not listed
speaks for itself. A listed one that does not say it, or not in time, is not served, because its own
address would pass for the client's. Not one octet behind the header is taken from the socket, so
that TLS may begin right there.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from relay.ingress.smtp.settings import IpNetwork

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_MAX_OCTETS = 107
V2_MAX_OCTETS = 2048
HEADER_S = 5.0
BREATHER_S = 1.0

Serve = Callable[[socket.socket, str | None], Awaitable[None]]


class BadHeader(ValueError):
    """What came is no PROXY header that we understand."""


class ProxiedServer:
    """Listens where connections may come by a load balancer."""

    def __init__(self, sockets: Sequence[socket.socket], networks: Sequence[IpNetwork]) -> None:
        self.sockets = tuple(sockets)
        self._networks = networks
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, serve: Serve) -> None:
        """Hand each connection to `serve`, with the address that its header names, if any."""
        for listening in self.sockets:
            self._run(self._accept(listening, serve))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for listening in self.sockets:
            listening.close()

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, serve: Serve) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(BREATHER_S)  # As asyncio does when no descriptor is left.
                continue
            self._run(self._welcome(client, address, serve))

    async def _welcome(self, client: socket.socket, address: object, serve: Serve) -> None:
        try:
            async with asyncio.timeout(HEADER_S):
                source = await read_source(client) if self._is_listed(address) else None
            await serve(client, source)
        except (BadHeader, OSError):  # TimeoutError is one of them.
            client.close()
        except asyncio.CancelledError:
            client.close()
            raise

    def _is_listed(self, peer: object) -> bool:
        if not isinstance(peer, tuple):
            return False
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


async def listening_sockets(host: str, port: int, *, share: bool) -> list[socket.socket]:
    """Bind an address, as `create_server` of the loop does. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            bound = socket.create_server(
                (str(address[0]), int(address[1])), family=family, backlog=1024, reuse_port=share
            )
            bound.setblocking(False)
            sockets.append(bound)
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


async def read_source(client: socket.socket) -> str | None:
    """Read the header; return the client's address, None where the balancer speaks for itself.

    Raises BadHeader, OSError.
    """
    start = await read_exactly(client, len(SIGNATURE))
    if start == SIGNATURE:
        rest = await read_exactly(client, 4)
        size_bytes = int.from_bytes(rest[2:], "big")
        if size_bytes > V2_MAX_OCTETS:
            raise BadHeader
        return source_v2(rest[0], rest[1], await read_exactly(client, size_bytes))
    line = bytearray(start)
    while not line.endswith(b"\r\n"):
        if not line.startswith(b"PROXY ") or len(line) >= V1_MAX_OCTETS:
            raise BadHeader
        # One by one, so that nothing behind the line is taken.
        line += await read_exactly(client, 1)
    return source_v1(bytes(line))


async def read_exactly(client: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < count:
        more = await loop.sock_recv(client, count - len(found))
        if not more:
            raise BadHeader
        found += more
    return found


def source_v1(line: bytes) -> str | None:
    """Read `PROXY TCP4 source destination port port`, line end included. Raises BadHeader."""
    words = line.decode("latin-1").removesuffix("\r\n").split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
        raise BadHeader
    try:
        address = ipaddress.ip_address(words[2])
    except ValueError:
        raise BadHeader from None
    if address.version != int(words[1][-1]):
        raise BadHeader
    return str(address)


def source_v2(version_and_command: int, family: int, body: bytes) -> str | None:
    """Read what follows the signature and its length. Raises BadHeader."""
    version, command = version_and_command >> 4, version_and_command & 0xF
    if version != 2 or command > 1:
        raise BadHeader
    if command == 0 or family == 0:  # LOCAL: a health check; UNSPEC: not told.
        return None
    octets, whole = {0x11: (4, 12), 0x21: (16, 36)}.get(family, (0, 0))
    if not octets or len(body) < whole:
        raise BadHeader
    return str(ipaddress.ip_address(body[:octets]))
