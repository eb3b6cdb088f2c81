"""Connects a call, asking of the very address that is connected to whether it may be called.

A tenant names the URL, so a name that leads into the operator's own network must not be followed
(SSRF). The name is resolved once, every address it leads to is judged, and one of those is dialled:
a name that changes its mind in between gains nothing. Host and SNI stay as they were given.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpcore

from relay.net.reach import Reach

REFUSED = "the destination is not allowed"


class DestinationNotAllowedError(httpcore.ConnectError):
    """The name leads to an address that may not be called; the text does not say which."""


class Guard(httpcore.AsyncNetworkBackend):
    """Connects to allowed addresses only. Raises ConnectError, which names none of them."""

    def __init__(self, reach: Reach, max_lookups: int = 8) -> None:
        self._reach = reach
        self._network = httpcore.AnyIOBackend()
        # The loop's own resolver has a few threads for everybody: names whose servers do not answer
        # would fill them, and nobody else could be called.
        self._resolvers = ThreadPoolExecutor(max_lookups, thread_name_prefix="resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure = httpcore.ConnectError("the name leads nowhere")
        for address in await self._addresses(host, port):
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = httpcore.ConnectError(str(error))
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise DestinationNotAllowedError(REFUSED)

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._resolvers, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the name is not known") from None
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if not all(self._reach.allows(address) for address in addresses):
            raise DestinationNotAllowedError(REFUSED)
        return addresses
