"""The content of a CMS SignedData (RFC 5652 §5.1), taken out without a look at its signatures.

Just enough of BER (X.690) to reach it, both forms of length included, since streaming signers use
the indefinite one. Bounded in depth and in the number of elements; what is damaged holds nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_DEPTH = 12
MAX_ELEMENTS = 50_000

SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # RFC 5652 §5.1
OBJECT_ID, SEQUENCE, EXPLICIT_0, OCTETS, OCTETS_IN_PIECES = 0x06, 0x30, 0xA0, 0x04, 0x24


class NotReadable(ValueError):
    """It is no BER, or more of it than is read."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element by its place: content from `start` to `end`, the next one at `after`."""

    tag: int
    start: int
    end: int
    after: int


def signed_content(data: bytes) -> bytes | None:
    """Return what was signed; None when this is no SignedData with its content inside."""
    try:
        return _signed_content(data)
    except (NotReadable, IndexError):
        return None


def _signed_content(data: bytes) -> bytes | None:
    info = _only(data, _element(data, 0, len(data)), SEQUENCE)
    if data[info[0].start : info[0].end] != SIGNED_DATA or info[0].tag != OBJECT_ID:
        return None
    signed = _only(data, _only(data, info[1], EXPLICIT_0)[0], SEQUENCE)
    # version, digestAlgorithms, encapContentInfo
    encapsulated = _only(data, signed[2], SEQUENCE)
    if len(encapsulated) < 2:
        return None
    return _octets(data, _only(data, encapsulated[1], EXPLICIT_0)[0])


def _only(data: bytes, element: Element, tag: int) -> list[Element]:
    if element.tag != tag:
        raise NotReadable
    return list(_children(data, element.start, element.end, 0))


def _octets(data: bytes, element: Element) -> bytes:
    if element.tag == OCTETS:
        return data[element.start : element.end]
    pieces = _only(data, element, OCTETS_IN_PIECES)
    if any(piece.tag != OCTETS for piece in pieces):
        raise NotReadable
    return b"".join(data[piece.start : piece.end] for piece in pieces)


def _children(data: bytes, start: int, end: int, depth: int) -> Iterator[Element]:
    at = start
    for _ in range(MAX_ELEMENTS):
        if at >= end:
            return
        child = _element(data, at, end, depth)
        yield child
        at = child.after
    raise NotReadable


def _element(data: bytes, at: int, end: int, depth: int = 0) -> Element:
    """Read the element at a place. One of indefinite length ends at its end-of-contents octets."""
    tag, first = data[at], data[at + 1]
    start = at + 2
    if first == 0x80:
        stop = _end_of_contents(data, start, end, depth + 1)
        return Element(tag, start, stop, stop + 2)
    size = first
    if first > 0x80:
        octets = first & 0x7F
        size = int.from_bytes(data[start : start + octets])
        start += octets
    if start + size > end or first > 0x88:
        raise NotReadable
    return Element(tag, start, start + size, start + size)


def _end_of_contents(data: bytes, start: int, end: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise NotReadable
    at = start
    for _ in range(MAX_ELEMENTS):
        if data[at : at + 2] == b"\x00\x00":
            return at
        at = _element(data, at, end, depth).after
    raise NotReadable
