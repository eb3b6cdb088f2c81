"""The connections of HTTP calls: the home of httpcore, with `guard`. Loaded by `HttpClient`."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpcore

from relay.net.call import CallFailed, CallRefused, Header, Request, Response
from relay.net.guard import DestinationNotAllowedError, Guard
from relay.net.reach import Reach
from relay.net.url import Url


class Wire:
    def __init__(self, reach: Reach, max_connections: int) -> None:
        """Read the authorities that the system trusts, so make it in a thread."""
        # A call that was given up leaves its look-up behind, for as long as that takes.
        self._guard = Guard(reach, max_lookups=max_connections * 2)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=max_connections,
            # A connection that was kept may be closed by the other side just as we write: then
            # nobody knows whether the call arrived.
            max_keepalive_connections=0,
            network_backend=self._guard,
        )

    async def close(self) -> None:
        await self._pool.aclose()
        self._guard.close()

    @asynccontextmanager
    async def call(self, request: Request, headers: Sequence[Header]) -> AsyncIterator[Response]:
        """Send a request with these headers; its answer's body is read inside the block."""
        try:
            async with self._pool.stream(
                request.method, _url(request.url), headers=headers, content=request.body or None
            ) as response:
                given = {name.lower(): value for name, value in response.headers}
                yield Response(response.status, given, response.aiter_stream())
        except DestinationNotAllowedError as error:
            raise CallRefused(str(error)) from None
        except httpcore.TimeoutException:
            raise CallFailed("no answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from None


def _url(url: Url) -> httpcore.URL:
    return httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
