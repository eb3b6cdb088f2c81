"""A mail without some of its parts, and with links to them where people read.

The links go into the first text/plain and the first text/html part; a part that is changed keeps
its charset, and its transfer encoding unless it has become ASCII. Where there is no text, or where
a multipart would be left without a part, a text part stands in place of a file. Nothing else
changes by a byte; a DKIM signature over the body is broken by it, which RFC 6376 §6.1 has readers
treat as none.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import ContentRefused
from relay.formats.compose import base64_lines, quoted_printable
from relay.formats.headers.head import Head
from relay.formats.headers.lines import LINE_MAX_OCTETS, longest_line
from relay.formats.links import (
    FileLink,
    can_hold_note,
    text_note,
    with_html_note,
    with_text_note,
)
from relay.formats.parts.decoding import Undecodable, decoded
from relay.formats.parts.tree import TOP, Leaf, Tree

_CTE = b"content-transfer-encoding"
_PLAIN = ("7bit", "8bit", "binary")


@dataclass(frozen=True, slots=True)
class _Edit:
    """`new` stands for what is between two places of the mail."""

    start: int
    end: int
    new: bytes = b""


def with_links(
    content: bytes, tree: Tree, removed: Sequence[Leaf], links: Sequence[FileLink]
) -> bytes:
    """Return the mail without these parts and with these links, which may be of other files too.

    Raises ContentRefused when it has no text and no part that gives way to one.
    """
    edits = _text_edits(content, tree, links)
    edits += _removals(tree, removed, links, needs_text=not edits)
    if not edits:
        raise ContentRefused("no place for a link in this mail", code=554, enhanced="5.6.0")
    return _edited(content, edits)


def _edited(content: bytes, edits: list[_Edit]) -> bytes:
    view = memoryview(content)
    pieces: list[bytes | memoryview] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += (view[at : edit.start], edit.new)
        at = edit.end
    return b"".join((*pieces, view[at:]))


def _removals(
    tree: Tree, removed: Sequence[Leaf], links: Sequence[FileLink], *, needs_text: bool
) -> list[_Edit]:
    of_branch: dict[int, list[Leaf]] = defaultdict(list)
    for leaf in removed:
        of_branch[leaf.branch].append(leaf)
    edits: list[_Edit] = []
    for branch, leaves in of_branch.items():
        is_emptied = branch == TOP or len(leaves) == tree.children[branch]
        if is_emptied or needs_text:
            edits.append(_text_in_place_of(leaves.pop(0), links))
            needs_text = False
        edits += [_Edit(*leaf.slot) for leaf in leaves]
    return edits


def _text_in_place_of(leaf: Leaf, links: Sequence[FileLink]) -> _Edit:
    note = text_note(links).encode()
    encoding, body = _encoded(note, "quoted-printable")
    fields = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n"
    head = _other_fields(leaf.head) if leaf.branch == TOP else b""
    return _Edit(leaf.start, leaf.end, b"".join((head, fields % encoding, b"\r\n", body)))


def _other_fields(head: Head) -> bytes:
    """Return the header of a mail without what describes its body."""
    kept = [f for f in head.fields if not f.name.startswith(b"content-")]
    block = b"".join(head.block[f.start : f.end] for f in kept)
    return block if head.has("MIME-Version") else block + b"MIME-Version: 1.0\r\n"


def _text_edits(content: bytes, tree: Tree, links: Sequence[FileLink]) -> list[_Edit]:
    edits: list[_Edit] = []
    for kind in ("text/plain", "text/html"):
        texts = (leaf for leaf in tree.leaves if leaf.is_text and leaf.kind == kind)
        leaf = next((t for t in texts if can_hold_note(t.charset)), None)
        if leaf is not None:
            edits += _text_edit(content, leaf, links)
    return edits


def _text_edit(content: bytes, leaf: Leaf, links: Sequence[FileLink]) -> list[_Edit]:
    """Return the changes that write the links into a text, none where it cannot be decoded."""
    try:
        text = decoded(content, leaf.body)
    except Undecodable:
        return []
    is_html = leaf.kind == "text/html"
    data = with_html_note(text, links) if is_html else with_text_note(text, leaf.charset, links)
    encoding, wire = _encoded(data, leaf.body.encoding)
    edits = [_Edit(leaf.body.start, leaf.body.end, wire)]
    if encoding.decode() != leaf.body.encoding:
        edits += _encoding_edits(leaf, encoding)
    return edits


def _encoded(data: bytes, encoding: str) -> tuple[bytes, bytes]:
    """Encode as before; but ASCII in lines travels readable, and what no longer fits into plain
    lines becomes quoted-printable.
    """
    is_lines = data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r") and b"\0" not in data
    fits = is_lines and longest_line(data) <= LINE_MAX_OCTETS
    if fits and data.isascii():
        return (encoding if encoding in _PLAIN else "7bit").encode(), data
    if fits and encoding in ("8bit", "binary"):
        return encoding.encode(), data
    if encoding == "base64" or not is_lines:
        return b"base64", base64_lines(data)
    return b"quoted-printable", quoted_printable(data)


def _encoding_edits(leaf: Leaf, encoding: bytes) -> list[_Edit]:
    """Return the changes by which the header names this encoding, once."""
    old = [field for field in leaf.head.fields if field.name == _CTE]
    line = b"Content-Transfer-Encoding: %b\r\n" % encoding
    if not old:
        end = leaf.start + leaf.head.size_bytes
        return [_Edit(end, end, line)]
    spans = [(leaf.start + field.start, leaf.start + field.end) for field in old]
    return [_Edit(*spans[0], line), *(_Edit(*span) for span in spans[1:])]
