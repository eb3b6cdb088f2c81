"""The large files that are in a mail itself."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from relay.attachments.offload.uploads import LargeFile
from relay.formats.parts import Leaf, Tree, Undecodable, decoded_pieces, read_tree

# Other messages inside of a mail (reports, fragments) mean something to programs.
_MESSAGE_KINDS = frozenset({"message/rfc822", "message/global"})


@dataclass(frozen=True, slots=True)
class Found:
    """A part that is a large file."""

    leaf: Leaf = field(repr=False)
    file: LargeFile


@dataclass(frozen=True, slots=True)
class Look:
    """What is in a mail; `sealed` says why nothing may be taken out of it."""

    tree: Tree = field(repr=False)
    large: tuple[Found, ...]

    @property
    def sealed(self) -> str | None:
        return self.tree.sealed


def look(content: bytes, max_bytes: int) -> Look:
    """Find the parts that are files of more than `max_bytes`; reads all of them, so call it in a
    thread for a large mail. Raises ContentRefused for a mail of too many parts.
    """
    tree = read_tree(content)
    found = (_found(content, leaf, max_bytes) for leaf in tree.leaves if _is_file(leaf))
    return Look(tree, tuple(each for each in found if each is not None))


def _is_file(leaf: Leaf) -> bool:
    kind = leaf.kind
    if kind.startswith("message/"):
        return kind in _MESSAGE_KINDS
    return not leaf.is_text and not kind.startswith("multipart/")


def _found(content: bytes, leaf: Leaf, max_bytes: int) -> Found | None:
    # No encoding makes it shorter.
    if leaf.body.end - leaf.body.start <= max_bytes:
        return None
    pieces = partial(decoded_pieces, content, leaf.body)
    measured = _measured(pieces)
    if measured is None or measured[0] <= max_bytes:
        return None
    return Found(leaf, LargeFile(leaf.name, leaf.kind, *measured, pieces))


def _measured(pieces: "partial[Iterator[bytes]]") -> tuple[int, str] | None:
    """Return size and SHA-256, None where it cannot be decoded: then it stays where it is."""
    size_bytes, sha256 = 0, hashlib.sha256()
    try:
        for piece in pieces():
            size_bytes += len(piece)
            sha256.update(piece)
    except Undecodable:
        return None
    return size_bytes, sha256.hexdigest()
