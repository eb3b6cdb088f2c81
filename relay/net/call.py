"""An HTTP call as those who make one see it: what is asked, what comes back, how it fails."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from relay.errors import Permanent, Temporary
from relay.net.url import Url

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
