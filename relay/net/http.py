"""HTTP calls to addresses that clients name.

Promises: the address is judged when it is connected to (`guard`); no redirect is followed; no
proxy, netrc or cookie of the environment is used; nothing is unpacked. Errors are CallFailed, or
CallRefused where the call would be refused again. Time and size are the caller's to bound.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.net.call import Request, Response
from relay.net.reach import Reach
from relay.net.url import authority

if TYPE_CHECKING:
    from relay.net.wire import Wire


class HttpClient:
    """Opened by its first call: most nodes call nobody, and start without what that takes."""

    def __init__(self, reach: Reach, *, max_connections: int, user_agent: str) -> None:
        self._reach = reach
        self._max_connections = max_connections
        self._user_agent = user_agent.encode()
        self._opening = asyncio.Lock()
        self._wire: Wire | None = None

    async def close(self) -> None:
        if self._wire:
            await self._wire.close()

    @asynccontextmanager
    async def call(self, request: Request) -> AsyncIterator[Response]:
        """Send a request; its answer's body is read inside the block."""
        wire = self._wire or await self._opened()
        headers = [
            (b"Host", authority(request.url)),
            (b"User-Agent", self._user_agent),
            (b"Accept-Encoding", b"identity"),
            *request.headers,
        ]
        async with wire.call(request, headers) as response:
            yield response

    async def _opened(self) -> "Wire":
        async with self._opening:
            if self._wire is None:
                self._wire = await asyncio.to_thread(open_wire, self._reach, self._max_connections)
            return self._wire


def open_wire(reach: Reach, max_connections: int) -> "Wire":
    from relay.net.wire import Wire  # noqa: PLC0415 - httpcore takes 40 ms to load, in a thread

    return Wire(reach, max_connections)
