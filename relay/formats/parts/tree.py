"""Where the parts of a mail are (RFC 2045, RFC 2046), by offsets into its bytes.

As lenient as readers are: a multipart that cannot be parted is one leaf. Attached mails are not
looked into. Bounded: what is nested deeper, or has more parts, than any mail of people is refused.
"""

import re
from dataclasses import dataclass, field

from relay.errors import ContentRefused
from relay.formats.headers.head import Head, scan
from relay.formats.parts.decoding import Body, Undecodable, decoded
from relay.formats.parts.fields import (
    charset_of,
    encoding_of,
    file_name,
    is_attachment,
    kind_of,
    parameter,
)

MAX_DEPTH = 30
MAX_PARTS = 2000
TOP = -1
_HEAD_MAX_BYTES = 1_048_576
_HEAD_MAX_FIELDS = 10_000

_TEXT, _MESSAGE = "text/plain", "message/rfc822"
_SEALED_KINDS = {
    "multipart/signed": "it is signed",
    "multipart/encrypted": "it is encrypted",
    "application/pkcs7-mime": "it is signed or encrypted",
    "application/x-pkcs7-mime": "it is signed or encrypted",
}
_ARMOR = b"-----BEGIN PGP "  # RFC 9580 §6.2


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts of its own. `branch` is the multipart that it is in, TOP for a mail of
    one part; `slot` is from the delimiter before it to the next one.
    """

    head: Head = field(repr=False)
    start: int
    end: int
    body: Body
    kind: str
    branch: int
    slot: tuple[int, int]

    @property
    def is_text(self) -> bool:
        """Whether it is text to be read with the mail, and no file."""
        return self.kind in ("text/plain", "text/html") and not is_attachment(self.head)

    @property
    def name(self) -> str:
        return file_name(self.head, self.kind)

    @property
    def charset(self) -> str:
        return charset_of(self.head)


@dataclass(frozen=True, slots=True)
class Tree:
    """The leaves in order; `children` counts the parts of each multipart.

    `sealed` says why the mail must not be changed: it is signed or encrypted.
    """

    leaves: tuple[Leaf, ...]
    children: tuple[int, ...]
    sealed: str | None
    has_dkim: bool


def read_tree(content: bytes) -> Tree:
    """Find the parts of a mail, whose line ends are CRLF. Raises ContentRefused for too many."""
    walk = _Walk(content)
    whole = _Place(0, len(content), depth=0, branch=TOP, slot=(0, len(content)))
    head = walk.visit(whole)
    return Tree(tuple(walk.leaves), tuple(walk.children), walk.sealed, head.has("DKIM-Signature"))


@dataclass(frozen=True, slots=True)
class _Place:
    """A part to be looked into; `default` is its type where it names none (RFC 2046 §5.1.5)."""

    start: int
    end: int
    depth: int
    branch: int
    slot: tuple[int, int]
    default: str = _TEXT


@dataclass(slots=True)
class _Walk:
    content: bytes
    leaves: list[Leaf] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    sealed: str | None = None

    def visit(self, place: _Place) -> Head:
        """Note the leaves of a part; return its header."""
        horizon = min(place.end, place.start + _HEAD_MAX_BYTES + 1)
        head = scan(
            self.content[place.start : horizon],
            max_bytes=_HEAD_MAX_BYTES,
            max_fields=_HEAD_MAX_FIELDS,
        )
        body_at = place.start + head.size_bytes
        if self.content.startswith(b"\r\n", body_at, place.end):
            body_at += 2
        kind = kind_of(head, place.default)
        self.sealed = self.sealed or _SEALED_KINDS.get(kind)
        parts = self._parts(head, kind, body_at, place) if kind.startswith("multipart/") else []
        for part in parts:
            self.visit(part)
        if not parts:
            self._note(
                Leaf(
                    head,
                    place.start,
                    place.end,
                    Body(body_at, place.end, encoding_of(head)),
                    kind,
                    place.branch,
                    place.slot,
                )
            )
        return head

    def _note(self, leaf: Leaf) -> None:
        if len(self.leaves) == MAX_PARTS:
            raise _too_much()
        self.leaves.append(leaf)
        if not self.sealed and leaf.is_text and _is_armored(self.content, leaf.body):
            self.sealed = "it is signed or encrypted with PGP"

    def _parts(self, head: Head, kind: str, body_at: int, place: _Place) -> list[_Place]:
        """Return the parts of a multipart, none where its boundary is missing or not found."""
        boundary = parameter(head, "Content-Type", "boundary")
        if not boundary:
            return []
        found, closed_at = _delimiters(self.content, boundary, body_at, place.end)
        if not found:
            return []
        if place.depth == MAX_DEPTH:
            raise _too_much()
        branch = len(self.children)
        self.children.append(len(found))
        default = _MESSAGE if kind == "multipart/digest" else _TEXT
        ends = [start for start, _ in found[1:]] + [closed_at]
        return [
            _Place(min(at, end), end, place.depth + 1, branch, (start, end), default)
            for (start, at), end in zip(found, ends, strict=True)
        ]


def _too_much() -> ContentRefused:
    return ContentRefused("too many parts, or nested too deep", code=554, enhanced="5.6.0")


def _is_armored(content: bytes, body: Body) -> bool:
    if body.encoding != "base64":
        is_first = content.startswith(_ARMOR, body.start, body.end)
        return is_first or content.find(b"\n" + _ARMOR, body.start, body.end) >= 0
    try:
        return b"\n" + _ARMOR in b"\n" + decoded(content, body)
    except Undecodable:
        return False


def _delimiters(
    content: bytes, boundary: str, start: int, end: int
) -> tuple[list[tuple[int, int]], int]:
    """Return for each part where its delimiter starts, with the line end before it, and where the
    part does; and where the last one ends (RFC 2046 §5.1.1).
    """
    mark = re.escape(boundary.rstrip()).encode()
    line = re.compile(rb"\r\n--%b(--)?[ \t]*(?=\r\n|\Z)" % mark)
    found: list[tuple[int, int]] = []
    # The line end before the first delimiter may be that of the header.
    for delimiter in line.finditer(content, max(0, start - 2), end):
        at = max(delimiter.start(), start)
        if delimiter[1]:
            return found, at
        found.append((at, delimiter.end() + 2))
        if len(found) > MAX_PARTS:
            raise _too_much()
    return found, end
