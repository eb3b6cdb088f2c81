"""Where a request ends is said in one way only: what two readers could take differently is 400.

Sanic alone reads a header with a space before its colon, or behind a bare LF, as another header; a
proxy in front that does not would take a part of the body for the next request (RFC 9112 §11.2). So
the head is read here, once; bodies and answers are Sanic's.
"""

import re
from typing import Literal

from sanic.compat import Header
from sanic.exceptions import BadRequest, ExpectationFailed, PayloadTooLarge
from sanic.http import Http

from relay.value import frozen

# RFC 9110 §5.1 and §5.5; the white space that Python strips is more than a header may have.
_FIELD = r"\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)"
_FIELDS = re.compile(_FIELD)
_HEAD = re.compile(rf"([A-Z]++) ([\x21-\x7e]++) HTTP/(1\.[01])((?:{_FIELD})*+)")
_LENGTH = re.compile(r"[0-9]{1,18}[ \t]*")
_CRLF = b"\r\n"
_EMPTY_LINE = b"\r\n\r\n"
_CHUNK_LINE = re.compile(rb"\r\n[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\r\n]*)?")
CHUNK_LINE_MAX_BYTES = 64


@frozen
class Body:
    """How a body is framed, and its size where that is said."""

    framing: Literal["none", "length", "chunked"]
    size_bytes: int = 0


@frozen
class PlainHead:
    """A request's line and headers, which can be read in one way."""

    method: str
    target: str
    version: str
    headers: Header
    body: Body

    @property
    def keeps_connection(self) -> bool:
        asked = self.headers.get("connection")
        return self.version == "1.1" if asked is None else asked.lower() == "keep-alive"


def read_head(head: bytes) -> PlainHead | None:
    """Return a request's head, None where it is not plain (RFC 9112 §2.2, §3.2, §5.1, §5.2, §6.3).

    `head` ends before the empty line.
    """
    found = _HEAD.fullmatch(head.decode(errors="surrogateescape"))
    if found is None:
        return None
    method, target, version, fields = found.group(1, 2, 3, 4)
    headers = Header([(name.lower(), value) for name, value in _FIELDS.findall(fields)])
    hosts = len(headers.getall("host", ()))
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return None
    body = body_of(headers)
    return None if body is None else PlainHead(method, target, version, headers, body)


def body_of(headers: Header) -> Body | None:
    """Return how the body is framed, None where that is not said in one plain way."""
    lengths = headers.getall("content-length", ())
    codings = headers.getall("transfer-encoding", ())
    if len(lengths) + len(codings) > 1:
        return None
    if codings:
        return Body("chunked") if codings[0] == "chunked" else None
    if not lengths:
        return Body("none")
    return Body("length", int(lengths[0])) if _LENGTH.fullmatch(lengths[0]) else None


class StrictHttp(Http):
    """A connection that ends with the first request that is not plain."""

    __slots__ = ()

    async def http1_request_header(self) -> None:
        buffer = self.recv_buffer
        end = await self._end_of_head()
        head = bytes(buffer[:end])
        plain = read_head(head)
        if plain is None:
            raise BadRequest("The request can be read in two ways")
        self.url = plain.target
        self._begin(plain, head)
        # Sanic wants one line end before the size of a chunk.
        del buffer[: end + (2 if plain.body.framing == "chunked" else 4)]

    async def _end_of_head(self) -> int:
        """Return where the empty line begins. Raises PayloadTooLarge."""
        buffer: bytearray = self.recv_buffer
        seen = 0
        while (end := buffer.find(_EMPTY_LINE, seen)) < 0 and len(buffer) < self.HEADER_MAX_SIZE:
            seen = max(0, len(buffer) - len(_EMPTY_LINE) + 1)
            await self._receive_more()
        if not 0 <= end < self.HEADER_MAX_SIZE:
            raise PayloadTooLarge("Request header exceeds the size limit")
        return end

    def _begin(self, plain: PlainHead, head: bytes) -> None:
        """Set what Sanic wants to know of a request."""
        expected = plain.headers.get("expect")
        if expected is not None and expected.lower() != "100-continue":
            raise ExpectationFailed("Another Expect than 100-continue")
        app = self.protocol.app
        self.request = self.protocol.request_class(
            url_bytes=plain.target.encode(),
            headers=plain.headers,
            head=head,
            version=plain.version,
            method=plain.method,
            transport=self.protocol.transport,  # type: ignore[arg-type] # as Sanic does
            app=app,
        )
        self.request.stream = self
        self.head_only = plain.method == "HEAD"
        self.keep_alive = plain.keeps_connection and app.config.KEEP_ALIVE
        framing = plain.body.framing
        self.expecting_continue = expected is not None and framing != "none"
        self.request_bytes = self.request_bytes_left = plain.body.size_bytes
        if framing != "none":
            kind = "chunked" if framing == "chunked" else True
            self.request_body = kind  # type: ignore[assignment] # Sanic's types know only bytes

    async def read(self) -> bytes | None:
        # A text for a body in chunks, though Sanic's types know no text.
        if str(self.request_body) == "chunked" and self.request_bytes_left == 0:
            await self._check_chunk()
        return await super().read()

    async def _check_chunk(self) -> None:
        """Look at the line before a chunk: Sanic passes over two octets before it, whatever they
        are, and over all that follows a semicolon.
        """
        buffer = self.recv_buffer
        while (end := buffer.find(_CRLF, len(_CRLF))) < 0 and len(buffer) <= CHUNK_LINE_MAX_BYTES:
            await self._receive_more()
        if end < 0 or _CHUNK_LINE.fullmatch(buffer, 0, end) is None:
            self.keep_alive = False
            raise BadRequest("A chunk does not begin as it should")

    def create_empty_request(self) -> None:
        # What stood there may be what could not be parsed.
        self.url = None
        super().create_empty_request()
