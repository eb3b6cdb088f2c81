"""HTTP calls to addresses that clients name.

The home of httpcore. Promises: the address is judged when it is connected to (`guard`); no redirect
is followed; no proxy, netrc or cookie of the environment is used; nothing is unpacked. Errors are
CallFailed, or CallRefused where the call would be refused again. Time and size are the caller's to
bound.
"""

import base64
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpcore

from relay.errors import Permanent, Temporary
from relay.net.guard import DestinationNotAllowedError, Guard, Reach
from relay.net.url import Url, authority

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` are those besides Host, User-Agent and Accept-Encoding."""

    method: str
    url: Url
    headers: Sequence[Header] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """The names of `headers` are in lower case; of one that came twice the last is kept."""

    status: int
    headers: Mapping[bytes, bytes]
    chunks: AsyncIterator[bytes] = field(repr=False)


class CallFailed(Temporary):
    """No whole answer came. The text is for the log and for who chose the address."""


class CallRefused(Permanent):
    """The address may not be called."""


class HttpClient:
    def __init__(self, reach: Reach, *, max_connections: int, user_agent: str) -> None:
        self._user_agent = user_agent.encode()
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
    async def call(self, request: Request) -> AsyncIterator[Response]:
        """Send a request; its answer's body is read inside the block."""
        headers = [
            (b"Host", authority(request.url)),
            (b"User-Agent", self._user_agent),
            (b"Accept-Encoding", b"identity"),
            *request.headers,
        ]
        try:
            async with self._pool.stream(
                request.method, request.url, headers=headers, content=request.body or None
            ) as response:
                given = {name.lower(): value for name, value in response.headers}
                yield Response(response.status, given, response.aiter_stream())
        except DestinationNotAllowedError as error:
            raise CallRefused(str(error)) from None
        except httpcore.TimeoutException:
            raise CallFailed("no answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from None


def authorization(auth: Mapping[str, str] | None) -> list[Header]:
    """Return a login as a header (RFC 6750, RFC 7617)."""
    given = auth or {}
    match given.get("method", "none"):
        case "bearer":
            return [(b"Authorization", b"Bearer " + given.get("token", "").encode())]
        case "basic":
            login = f"{given.get('user', '')}:{given.get('password', '')}".encode()
            return [(b"Authorization", b"Basic " + base64.b64encode(login))]
    return []
