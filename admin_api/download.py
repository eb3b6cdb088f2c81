"""GET and HEAD /download/{ticket}: files that were linked from a mail, for whoever has the link.

No token: the ticket is signed. One that we did not make is 404, one whose file has ended 410. A
file is never shown by a browser, only saved: what is in it came from outside. Single ranges (RFC
9110 §14) let a broken download go on.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import BinaryIO

from admin_api.problems import Answer, Problem
from admin_api.routes import Access, Call, Route, Stream
from admin_api.services import Services
from relay.attachments.offload.place import Scheme
from relay.formats.disposition import attachment_disposition
from relay.store.files import StoredFile
from relay.value import frozen

PIECE_BYTES = 256 * 1024
# A redirection is followed at once; the time is for a download that is taken up again.
SIGNED_S = 3600.0
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_SAFE_KIND = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_ALWAYS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@frozen
class Span:
    """Octets of a file: from the first to the one past the last."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


@frozen
class Reply:
    """What is said of a file, and the span of it that is sent."""

    span: Span
    status: int
    content_type: str
    headers: dict[str, str]


async def download(services: Services, call: Call) -> Answer | Stream:
    file = await _file(services, call.path["ticket"])
    reply = _reply(file, call)
    place = await services.depot.place_of(file)
    if place.scheme is not Scheme.FILE:
        lasts_s = min(SIGNED_S, file.expires_at - services.database.now())
        url = await services.depot.storages.cloud(place).sign(file, lasts_s)
        return Answer(b"", 302, headers={"Location": url, **_ALWAYS})
    opened = await services.depot.storages.local(place).open(file)
    if opened is None:
        raise _ended()
    return Stream(_pieces(opened, reply.span), reply.content_type, reply.status, reply.headers)


async def describe_download(services: Services, call: Call) -> Answer:
    """Answer HEAD; a cloud is not asked for it."""
    reply = _reply(await _file(services, call.path["ticket"]), call)
    return Answer(b"", reply.status, reply.content_type, reply.headers)


async def _file(services: Services, ticket: str) -> StoredFile:
    file_id = services.tickets.verify(ticket)
    if file_id is None:
        raise Problem(404, "no such file")
    file = await services.depot.files.find(file_id)
    if file is None or file.expires_at <= services.database.now():
        raise _ended()
    return file


def _ended() -> Problem:
    return Problem(410, "this link has ended")


def _reply(file: StoredFile, call: Call) -> Reply:
    validator = f'"{file.sha256}"'
    given = call.headers.get("range")
    # RFC 9110 §13.1.5: a part of something else is of no use.
    if call.headers.get("if-range", validator) != validator:
        given = None
    span = wanted_span(given, file.size_bytes)
    headers = {
        **_ALWAYS,
        "Content-Disposition": attachment_disposition(file.name),
        "ETag": validator,
    }
    if span is None:
        headers["Content-Range"] = f"bytes */{file.size_bytes}"
        raise Problem(416, "the file does not have this range", headers)
    headers["Content-Length"] = str(span.size_bytes)
    is_part = span.size_bytes < file.size_bytes
    if is_part:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size_bytes}"
    kind = file.mime_type if _SAFE_KIND.fullmatch(file.mime_type) else "application/octet-stream"
    return Reply(span, 206 if is_part else 200, kind, headers)


def wanted_span(given: str | None, size_bytes: int) -> Span | None:
    """Return what a Range field asks for; None for what the file does not have.

    What is not understood, and several ranges, are ignored: the whole file is right too (RFC 9110
    §14.2).
    """
    whole = Span(0, size_bytes)
    found = _RANGE.fullmatch(given.strip()) if given else None
    if found is None or not (found[1] or found[2]):
        return whole
    if not found[1]:
        last = min(int(found[2]), size_bytes)
        return Span(size_bytes - last, size_bytes) if last else None
    start = int(found[1])
    end = min(int(found[2]) + 1, size_bytes) if found[2] else size_bytes
    if found[2] and int(found[2]) < start:
        return whole
    return Span(start, end) if start < size_bytes else None


async def _pieces(opened: BinaryIO, span: Span) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(opened.seek, span.start)
        left = span.size_bytes
        while left and (piece := await asyncio.to_thread(opened.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece
    finally:
        opened.close()


_FAILURES = {
    206: "The range that was asked for",
    302: "The file is in a cloud's storage: there",
    404: "No link of ours",
    410: "The link has ended",
    416: "The file does not have this range",
    503: "Temporarily unavailable: see Retry-After",
}

ROUTES = (
    Route(
        "GET",
        "/download/{ticket}",
        download,
        Access.OPEN,
        "Download a file that was linked from a mail",
        answer_type="application/octet-stream",
        failures=_FAILURES,
    ),
    Route(
        "HEAD",
        "/download/{ticket}",
        describe_download,
        Access.OPEN,
        "Say what would be downloaded",
        answer_type="application/octet-stream",
        failures=_FAILURES,
    ),
)
