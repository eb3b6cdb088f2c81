"""Finding one part of a mail: a walk over its MIME structure that is bounded in depth and number.

Attached mails (message/rfc822) are not entered: what they hold was said of another mail. Signed
mail is entered without a look at its signature (RFC 8551 §3.5), in both its forms: multipart/signed
and application/pkcs7-mime. The email package is not used, since it recurses by the depth of a
stranger's mail.
"""

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass

from relay.errors import ContentRefused
from relay.formats.headers.head import Head, scan
from relay.formats.pec.cms import signed_content

MAX_DEPTH = 8
MAX_PARTS = 100
BOUNDARY_MAX_CHARS = 200  # RFC 2046 §5.1.1 has 70
OPAQUE = ("application/pkcs7-mime", "application/x-pkcs7-mime")

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A part that holds no parts, its content still encoded for transfer."""

    head: Head
    content: bytes

    def is_named(self, name: str) -> bool:
        """Say whether it is a file of this name, by either of the fields that tell it."""
        fields = (self.head.first("Content-Disposition"), self.head.first("Content-Type"))
        return any(name in field.lower() for field in fields if field)

    def decoded(self) -> bytes:
        return decoded(self.head, self.content)


def leaves(raw: bytes) -> Iterator[Part]:
    """Give the parts of a mail in their order, the first hundred; nothing makes it raise."""
    waiting = [(raw, 0)]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        entity, depth = waiting.pop()
        try:
            head = scan(entity)
        except ContentRefused:
            continue
        body = body_of(entity, head)
        inner = opened(head, body) if depth < MAX_DEPTH else None
        if inner is None:
            yield Part(head, body)
        else:
            waiting += [(part, depth + 1) for part in reversed(inner)]


def body_of(entity: bytes, head: Head) -> bytes:
    rest = entity[head.size_bytes :]
    for line_end in (b"\r\n", b"\n"):
        if rest.startswith(line_end):
            return rest[len(line_end) :]
    return rest


def opened(head: Head, body: bytes) -> list[bytes] | None:
    """Return the entities inside one; None when it holds none."""
    given = head.first("Content-Type") or ""
    kind = given.partition(";")[0].strip().lower()
    if kind in OPAQUE:
        content = signed_content(decoded(head, body))
        return None if content is None else [content]
    boundary = boundary_of(given) if kind.startswith("multipart/") else None
    return None if boundary is None else split(body, boundary)


def boundary_of(content_type: str) -> bytes | None:
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    boundary = found[1] or found[2]
    return boundary.encode() if len(boundary) <= BOUNDARY_MAX_CHARS else None


def split(body: bytes, boundary: bytes) -> list[bytes]:
    """Cut a multipart at its delimiter lines (RFC 2046 §5.1.1); one without its end is taken."""
    line = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*\r?$", re.MULTILINE)
    parts: list[bytes] = []
    start: int | None = None
    for found in line.finditer(body):
        if start is not None:
            parts.append(body[start : found.start()])
        start = found.end() + 1
        if found[1] or len(parts) >= MAX_PARTS:
            return parts
    return parts if start is None else [*parts, body[start:]]


def decoded(head: Head, content: bytes) -> bytes:
    """Undo the transfer encoding, taking what can be taken (RFC 2045 §6.8)."""
    encoding = (head.first("Content-Transfer-Encoding") or "").strip().lower()
    if encoding == "quoted-printable":
        return quopri.decodestring(content)
    if encoding != "base64":
        return content
    clean = _NOT_BASE64.sub(b"", content)
    clean = clean[: len(clean) - (len(clean) % 4 == 1)]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
