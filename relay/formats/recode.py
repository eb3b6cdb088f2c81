"""A mail re-encoded for an upstream that takes 7 bits only, or no line over 998 octets.

RFC 6152 §3, RFC 5321 §4.5.3.1.6. Only the leaf parts that need it change, with their
Content-Transfer-Encoding and that of the parts around them; all else stays byte for byte, and what
a reader decodes is the same. Not changed are headers, so a header line over 998 goes as it came.
What a change would break is refused: signed, encrypted and S/MIME parts, and 8-bit headers, which
need SMTPUTF8 (RFC 6532).
"""

import binascii
import re
from dataclasses import dataclass

from relay.errors import ContentRefused
from relay.formats.compose import base64_lines, quoted_printable
from relay.formats.headers.head import Head, scan
from relay.formats.headers.lines import LINE_MAX_OCTETS, longest_line
from relay.formats.parts.fields import kind_of

MAX_DEPTH = 100

_TEXT, _MESSAGE = "text/plain", "message/rfc822"
# Message types that may be encoded like any other (RFC 6532 §3.7, RFC 6533 §6).
_GLOBAL = "message/global"
_OPAQUE = frozenset(
    {
        "multipart/signed",
        "multipart/encrypted",
        "application/pkcs7-mime",
        "application/x-pkcs7-mime",
    }
)
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_QUOTED_PAIR = re.compile(r"\\(.)")
_CTE = "Content-Transfer-Encoding"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entity is; `default` is its type where it names none (RFC 2046 §5.1.5)."""

    depth: int
    default: str
    is_message: bool


def to_7bit(content: bytes) -> bytes:
    """Return the mail in 7 bits and lines of at most 998 octets. Raises ContentRefused (554)."""
    return _entity(content, _Place(depth=0, default=_TEXT, is_message=True))


def _is_clean(data: bytes) -> bool:
    return data.isascii() and longest_line(data) <= LINE_MAX_OCTETS


def _cannot(what: str) -> ContentRefused:
    return ContentRefused(f"Cannot be re-encoded: {what}", code=554, enhanced="5.6.3")


def _entity(content: bytes, place: _Place) -> bytes:
    if _is_clean(content):
        return content
    if place.depth > MAX_DEPTH:
        raise _cannot("parts are nested too deep")
    head = scan(content)
    if not head.block.isascii():
        raise ContentRefused("Its header needs SMTPUTF8", code=554, enhanced="5.6.7")
    at = head.size_bytes
    body = content[at + 2 :] if content.startswith(b"\r\n", at) else content[at:]
    kind = kind_of(head, place.default)
    if _is_clean(body):
        return content
    if kind in _OPAQUE:
        raise _cannot(f"{kind} would break")
    if kind.startswith("multipart/"):
        return _container(head, _multipart(body, head, kind, place))
    if kind == _MESSAGE:
        inner = _Place(place.depth + 1, default=_TEXT, is_message=True)
        return _container(head, _entity(body, inner))
    return _leaf(head, body, kind, place)


def _container(head: Head, body: bytes) -> bytes:
    """Put the 7-bit body back; the encoding is that of the widest part (RFC 2045 §6.4)."""
    block = _with_encoding(head, b"7bit") if head.has(_CTE) else head.block
    return b"".join((block, b"\r\n", body))


def _with_encoding(head: Head, encoding: bytes) -> bytes:
    """Return the header block with this encoding: in the old one's place, else at the end."""
    line = b"%b: %b\r\n" % (_CTE.encode(), encoding)
    old = [field for field in head.fields if field.name == _CTE.lower().encode()]
    if not old:
        return head.block + line
    pieces = [head.block[: old[0].start], line]
    ends = [field.start for field in old[1:]] + [len(head.block)]
    pieces += [head.block[field.end : end] for field, end in zip(old, ends, strict=True)]
    return b"".join(pieces)


def _multipart(body: bytes, head: Head, kind: str, place: _Place) -> bytes:
    delimiters = _delimiters(body, head)
    default = _MESSAGE if kind == "multipart/digest" else _TEXT
    inner = _Place(place.depth + 1, default, is_message=False)
    pieces = [_ignored(body[: delimiters[0].start()])]
    ends = [found.start() for found in delimiters[1:]] + [len(body)]
    for found, end in zip(delimiters, ends, strict=True):
        pieces.append(found[0])
        if found[1]:
            pieces.append(_ignored(body[found.end() :]))
            break
        start = min(found.end() + 2, end)
        pieces += (body[found.end() : start], _entity(body[start:end], inner))
    return b"".join(pieces)


def _delimiters(body: bytes, head: Head) -> list[re.Match[bytes]]:
    given = _BOUNDARY.search(head.first("Content-Type") or "")
    if given is None:
        raise _cannot("a multipart without a boundary")
    boundary = _QUOTED_PAIR.sub(r"\1", given[1]) if given[1] is not None else given[2]
    line = rb"(?:\A|\r\n)--%b(--)?[ \t]*(?=\r\n|\Z)" % re.escape(boundary.rstrip()).encode()
    found = list(re.finditer(line, body))
    if not found:
        raise _cannot("a multipart whose boundary does not occur")
    return found


def _ignored(around: bytes) -> bytes:
    """Keep what stands around the parts if it may stay; no reader sees it (RFC 2046 §5.1.1)."""
    return around if _is_clean(around) else b""


def _leaf(head: Head, body: bytes, kind: str, place: _Place) -> bytes:
    if kind.startswith("message/") and not kind.startswith(_GLOBAL):
        raise _cannot(f"{kind} must be 7bit")
    data = _decoded(body, head)
    is_lines = data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
    if kind.startswith("text/") and is_lines:
        encoding, wire = b"quoted-printable", quoted_printable(data)
    else:
        encoding, wire = b"base64", base64_lines(data)
    block = _with_encoding(head, encoding)
    return b"".join((block, _missing_fields(head, data, place), b"\r\n", wire))


def _decoded(body: bytes, head: Head) -> bytes:
    encoding = (head.first(_CTE) or "7bit").strip().lower()
    if encoding in ("7bit", "8bit", "binary"):
        return body
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            raise _cannot("a part whose base64 is broken") from None
    raise _cannot("a part in an unknown transfer encoding")


def _missing_fields(head: Head, data: bytes, place: _Place) -> bytes:
    """Name what was guessed so far; no encoding counts without MIME-Version (RFC 2045 §4)."""
    lines = b""
    if place.is_message and not head.has("MIME-Version"):
        lines += b"MIME-Version: 1.0\r\n"
    if not head.has("Content-Type"):
        lines += b"Content-Type: text/plain; charset=%b\r\n" % _charset(data)
    return lines


def _charset(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError:
        return b"unknown-8bit"  # RFC 1428 §3
    return b"us-ascii" if data.isascii() else b"utf-8"
