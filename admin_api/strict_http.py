"""Where a request ends is said in one way only: what two readers could take differently is 400.

Sanic alone reads a header with a space before its colon, or behind a bare LF, as another header; a
proxy in front that does not would take a part of the body for the next request (RFC 9112 §11.2).
"""

import re

from sanic.exceptions import BadRequest
from sanic.http import Http

# RFC 9110 §5.1 and §5.5; the white space that Python strips is more than a header may have.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.([01])")
_ONLY = {
    b"content-length": re.compile(rb"[0-9]{1,18}[ \t]*"),
    b"transfer-encoding": re.compile(rb"chunked"),
}
_CRLF = b"\r\n"
_CHUNK_LINE = re.compile(rb"\r\n[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\r\n]*)?")
CHUNK_LINE_MAX_BYTES = 64


def is_plain(head: bytes) -> bool:
    """Say whether a request's line and headers can be read in one way (RFC 9112 §2.2, §3.2, §5.1,
    §5.2, §6.3).
    """
    request_line, *lines = head.split(_CRLF)
    request = _REQUEST.fullmatch(request_line)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if request is None or None in fields:
        return False
    named = [(field[1].lower(), field[2]) for field in fields if field]
    hosts = sum(name == b"host" for name, _ in named)
    if hosts > 1 or (hosts == 0 and request[1] == b"1"):
        return False
    return all(_ONLY[name].fullmatch(value) for name, value in named if name in _ONLY)


class StrictHttp(Http):
    """A connection that ends with the first request that is not plain."""

    __slots__ = ()

    async def http1_request_header(self) -> None:
        await super().http1_request_header()  # type: ignore[no-untyped-call] # Sanic
        if not is_plain(self.request.head):
            self.request_body = None
            raise BadRequest("The request can be read in two ways")

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
