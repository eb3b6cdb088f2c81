"""Putting the files that were missing into a composed mail (RFC 2046 §5.1).

Pure. A gap lies where a part begins, so the delimiter that the new part needs is the one that
follows it. Pieces are made one after another: whoever writes them needs no room for all.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.formats.compose import base64_lines, part_wire

# Whole lines of base64, so that the pieces join without a seam.
BLOCK_BYTES = 57 * 4096


@dataclass(frozen=True, slots=True)
class Insertion:
    """A part to put in: its place, its header fields without line ends, its bytes in blocks of
    `BLOCK_BYTES`, the last one shorter.
    """

    from_end_bytes: int
    fields: tuple[bytes, ...]
    blocks: Iterable[bytes]


def inserted(content: bytes, insertions: Sequence[Insertion]) -> Iterator[bytes | memoryview]:
    """Yield the mail with the parts put in; they are given in the order of their places."""
    view = memoryview(content)
    at = 0
    for part in insertions:
        place = len(content) - part.from_end_bytes
        yield view[at:place]
        at = place
        yield b"%b\r\n%b" % (delimiter_at(content, place), part_wire(part.fields, b""))
        for block in part.blocks:
            yield base64_lines(block)
        yield b"\r\n"
    yield view[at:]


def encoded_size(size_bytes: int) -> int:
    """Return what so many bytes take in base64, with their line ends."""
    encoded = -(-size_bytes // 3) * 4
    return encoded + 2 * -(-encoded // 76)


def delimiter_at(content: bytes, place: int) -> bytes:
    """Return the delimiter that stands there, be it of a part or the last one (RFC 2046 §5.1.1)."""
    line = content[place : content.index(b"\r\n", place)]
    return line.removesuffix(b"--")
