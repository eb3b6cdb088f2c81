"""The header block of a mail: what is in it, and the mail with fields taken out or put in front.

As lenient as mail servers are: the block ends at the empty line or at the first line that is no
field (RFC 5322 §2.2). Fields are found by offset and stay as they came. Over the bounds the mail
is refused.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import field
from functools import lru_cache
from typing import NamedTuple

from relay.errors import ContentRefused
from relay.formats.headers.slices import Steps, at_once, joining
from relay.value import frozen

MAX_BYTES = 102_400
MAX_FIELDS = 1000
NAME_MAX_BYTES = 255

# Possessive, so that a megabyte that almost is a field costs one pass. White space before the
# colon is obsolete syntax (RFC 5322 §4.5) but read by others, so a `Bcc :` must be found too.
_FIELD = re.compile(
    rb"([!-9;-~]{1,%d}+)[ \t]{0,64}+:[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+" % NAME_MAX_BYTES
)
_OURS = b"x-pillarbox-"
_NEVER_SENT = frozenset({b"bcc", b"resent-bcc"})


class Field(NamedTuple):
    """A field: its name in lower case, and where it starts and ends, line end included."""

    name: bytes
    start: int
    end: int


@lru_cache(maxsize=256)
def _lower(name: str) -> bytes:
    return name.lower().encode()


@frozen
class Head:
    """The fields of a header block. Names are asked for in any case, and kept in lower case;
    values are unfolded and decoded.
    """

    block: bytes
    fields: tuple[Field, ...]
    names: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset([field.name for field in self.fields]))

    @property
    def size_bytes(self) -> int:
        """Octets up to the empty line, which is not counted."""
        return len(self.block)

    def first(self, name: str) -> str | None:
        wanted = _lower(name)
        if wanted in self.names:
            for field in self.fields:
                if field.name == wanted:
                    return self.value(field)
        return None

    def all(self, name: str) -> list[str]:
        wanted = _lower(name)
        return [self.value(field) for field in self.fields if field.name == wanted]

    def has(self, name: str) -> bool:
        return _lower(name) in self.names

    def count(self, name: str) -> int:
        wanted = _lower(name)
        return [field.name for field in self.fields].count(wanted) if wanted in self.names else 0

    @property
    def has_ours(self) -> bool:
        """Say whether there are X-Pillarbox-* fields."""
        return any(name.startswith(_OURS) for name in self.names)

    def value(self, field: Field) -> str:
        raw = self.block[field.start : field.end].partition(b":")[2]
        unfolded = raw.replace(b"\r\n", b"").replace(b"\n", b"").strip(b" \t\r")
        try:
            return unfolded.decode()
        except UnicodeDecodeError:
            return unfolded.decode("latin-1")


def too_large_header() -> ContentRefused:
    return ContentRefused("The header is too large", code=552, enhanced="5.3.4")


def scan(content: bytes, *, max_bytes: int = MAX_BYTES, max_fields: int = MAX_FIELDS) -> Head:
    """Find the fields of a mail. Raises ContentRefused (552) over the bounds."""
    fields: list[Field] = []
    at = 0
    # Far enough for the name of a field that starts inside the bound: it must not pass for a body.
    horizon = max_bytes + 2 * NAME_MAX_BYTES
    while found := _FIELD.match(content, at, horizon):
        start, at = at, found.end()
        if at > max_bytes or len(fields) == max_fields:
            raise too_large_header()
        fields.append(Field(found[1].lower(), start, at))
    return Head(content[:at], tuple(fields))


def outgoing(
    content: bytes, head: Head, *, prepend: bytes = b"", drop: Collection[str] = ()
) -> bytes:
    """Return the mail with `prepend` in front and without Bcc, Resent-Bcc and X-Pillarbox-*.

    `prepend` is whole lines; `drop` names more fields to take out. All else stays byte for byte;
    only a mail without any header gets the empty line that its body lacks.
    """
    return at_once(making_outgoing(content, head, prepend=prepend, drop=drop))


def making_outgoing(
    content: bytes, head: Head, *, prepend: bytes = b"", drop: Collection[str] = ()
) -> Steps[bytes]:
    """As `outgoing`, in steps: between them others can go on."""
    dropped = _NEVER_SENT.union(name.lower().encode() for name in drop) if drop else _NEVER_SENT
    if head.fields:
        pieces = _kept(
            content, head, lambda name: name in dropped or name.startswith(_OURS), prepend
        )
        return (yield from joining(pieces))
    separator = b"" if content.startswith(b"\r\n") else b"\r\n"
    return (yield from joining((prepend, separator, content)))


def without(
    content: bytes, head: Head, is_dropped: Callable[[bytes], bool], prepend: bytes
) -> bytes:
    """Return the mail with `prepend` in front and without the fields so named (lower case)."""
    return b"".join(_kept(content, head, is_dropped, prepend))


def _kept(
    content: bytes, head: Head, is_dropped: Callable[[bytes], bool], prepend: bytes
) -> list[bytes | memoryview]:
    gone = [field for field in head.fields if is_dropped(field.name)]
    if not gone:
        return [prepend, content]
    view = memoryview(content)
    pieces: list[bytes | memoryview] = [prepend]
    at = 0
    for each in gone:
        pieces.append(view[at : each.start])
        at = each.end
    pieces.append(view[at:])
    return pieces
