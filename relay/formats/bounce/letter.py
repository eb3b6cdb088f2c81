"""The mail that came back, taken apart within bounds.

Python's own parser recurses with the depth of the MIME tree and takes seconds over hostile heads,
so this is a reader of its own: one pass over the lines, no recursion, a limit on bytes, lines,
parts and depth. It never raises. What stands behind a limit is not read: a bounce says what it has
to say early. A returned mail (message/rfc822) is kept as lines and not taken apart.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from relay.formats.bounce.encodings import decoded, printable

SIZE_LIMIT_BYTES = 1024 * 1024
LINES_LIMIT = 20_000
LINE_LIMIT_CHARS = 4_000
FIELDS_LIMIT = 300
PARTS_LIMIT = 50
DEPTH_LIMIT = 8
PREAMBLE_LINES = 7

FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]{0,20}:(.*)", re.DOTALL)
PARAMETER = re.compile(
    r""";\s{0,20}([A-Za-z-]{1,30})\s{0,20}=\s{0,20}(?:"([^"]{0,200})"|([^\s;"]{1,200}))"""
)
GUESSED_BOUNDARY = re.compile(rb"--[^\s]{5,100}")


@dataclass(frozen=True, slots=True)
class Head:
    """Header fields in order, names in lower case, values unfolded."""

    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for field, value in self.fields if field == name)

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "")


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree: its type in lower case, its head, its lines decoded."""

    type: str
    head: Head
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail: its head and its leaves."""

    head: Head
    parts: tuple[Part, ...]


def read_letter(raw: bytes) -> Letter:
    lines = raw[:SIZE_LIMIT_BYTES].splitlines()[:LINES_LIMIT]
    lines = [line[:LINE_LIMIT_CHARS] for line in lines]
    if lines and lines[0].startswith(b"From "):
        lines = lines[1:]  # an mbox separator
    head, start = _read_head(lines, 0)
    leaves = tuple(_leaves(lines, head, start))
    return Letter(head, leaves or (_leaf(content_type(head)[0], head, lines[start:]),))


def read_head(lines: tuple[str, ...]) -> Head:
    """Read the header fields that `lines` begin with; lines that are none end them."""
    return _head_of([line.rstrip("\r") for line in lines[: FIELDS_LIMIT * 4]])[0]


def content_type(head: Head) -> tuple[str, dict[str, str]]:
    """Return the media type in lower case and its parameters, names in lower case."""
    value = head.first("content-type")[:LINE_LIMIT_CHARS]
    found = {name.lower(): quoted or bare for name, quoted, bare in PARAMETER.findall(value)}
    return value.split(";", 1)[0].strip().lower() or "text/plain", found


def _read_head(lines: list[bytes], start: int) -> tuple[Head, int]:
    ahead = lines[start : start + FIELDS_LIMIT * 4]
    ends = next((at for at, line in enumerate(ahead) if not line.strip()), len(ahead))
    head, length = _head_of(
        [printable(line.decode("utf-8", "replace")) for line in ahead[: ends + 1]]
    )
    return head, start + length


def _head_of(lines: list[str]) -> tuple[Head, int]:
    """Return the head and the number of lines it takes, its empty line included."""
    fields: list[tuple[str, str]] = []
    for at, line in enumerate(lines):
        if not line.strip():
            return Head(tuple(fields)), at + 1
        if line[0] in " \t" and fields:
            name, value = fields[-1]
            fields[-1] = name, f"{value} {line.strip()}"[:LINE_LIMIT_CHARS]
        elif (match := FIELD.match(line)) and len(fields) < FIELDS_LIMIT:
            fields.append((match[1].lower(), match[2].strip()))
        else:
            return Head(tuple(fields)), at
    return Head(tuple(fields)), len(lines)


def _leaves(lines: list[bytes], head: Head, start: int) -> Iterator[Part]:
    """Walk the lines once, with the boundaries that are open as a stack.

    A line that is the boundary of an outer multipart closes the inner ones (RFC 2046 §5.1.2), so a
    part that was cut short takes nothing of its neighbours.
    """
    kind, boundary = _opened(head, lines[start:])
    if not boundary:
        return
    stack, at, found = [boundary], start, 0
    begun: tuple[str, Head, int] | None = None
    while at < len(lines) and found < PARTS_LIMIT:
        level = _closes(lines[at], stack)
        if level is None:
            at += 1
            continue
        if begun is not None:
            yield _leaf(begun[0], begun[1], lines[begun[2] : at])
            begun, found = None, found + 1
        ends = lines[at].rstrip() == b"--" + stack[level] + b"--"
        del stack[level if ends else level + 1 :]
        at += 1
        if ends:
            continue
        inner, at = _read_head(lines, at)
        kind, boundary = _opened(inner, [])
        if boundary and len(stack) < DEPTH_LIMIT:
            stack.append(boundary)
        else:
            begun = kind, inner, at
    if begun is not None:
        yield _leaf(begun[0], begun[1], lines[begun[2] :])


def _opened(head: Head, body: list[bytes]) -> tuple[str, bytes]:
    """Return the type and, of a multipart, the boundary; that of a mail whose head lost its
    Content-Type is guessed from its body.
    """
    kind, parameters = content_type(head)
    if kind.startswith("multipart/"):
        return kind, parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
    for line, following in pairwise(body[:PREAMBLE_LINES]):
        if GUESSED_BOUNDARY.fullmatch(line) and following.lower().startswith(b"content-type:"):
            return kind, line[2:]
    return kind, b""


def _closes(line: bytes, stack: list[bytes]) -> int | None:
    if not line.startswith(b"--"):
        return None
    text = line[2:].rstrip()
    for level in range(len(stack) - 1, -1, -1):
        if text in (stack[level], stack[level] + b"--"):
            return level
    return None


def _leaf(kind: str, head: Head, lines: list[bytes]) -> Part:
    if kind.startswith("multipart/"):
        kind = "text/plain"
    encoding = head.first("content-transfer-encoding")
    charset = content_type(head)[1].get("charset", "")
    return Part(kind, head, decoded(lines, encoding, charset))
