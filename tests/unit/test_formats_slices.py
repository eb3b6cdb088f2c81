"""Large mail in slices comes out as at one go."""

from collections.abc import Iterator
from itertools import product

import pytest

from relay.errors import ContentRefused
from relay.formats.headers import assess, assessing, crlf, dot_stuff, outgoing, scan, unstuff
from relay.formats.headers.slices import (
    SLICE_BYTES,
    Steps,
    at_once,
    finding,
    joining,
    replacing,
)

PATTERNS = (b"\r\n", b"\r\n.", b"\n", b"\r")
NEAR = (b"\r\n.", b"\r\n", b"\r\r\n", b"\n.\r\n..", b"\r\n.\r\n.\r\n.")


def contents() -> Iterator[bytes]:
    """Make mails that have something near their cuts. What is replaced is cut into slices from
    where the first was found.
    """
    for first, shift, octets in product((0, 3), range(-7, 2), NEAR):
        content = bytearray(b"x" * (3 * SLICE_BYTES + 7))
        content[first : first + 3] = b"\r\n."
        for cut in (first + SLICE_BYTES, first + 2 * SLICE_BYTES):
            content[cut + shift : cut + shift + len(octets)] = octets
        yield bytes(content)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_searches_find_the_same(pattern: bytes) -> None:
    for content in contents():
        start = content.find(pattern) + 1
        assert at_once(finding(content, pattern, start)) == content.find(pattern, start)


def test_line_ends_are_judged_the_same_wherever_a_slice_ends() -> None:
    for content in contents():
        pairs = content.count(b"\r\n")
        if content.count(b"\r") == pairs == content.count(b"\n"):
            assess(content)
        else:
            with pytest.raises(ContentRefused, match="Bare"):
                assess(content)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("new", [b"", b"\n", b"\r\n.."])
def test_replacing_replaces_the_same(pattern: bytes, new: bytes) -> None:
    for content in contents():
        assert at_once(replacing(content, pattern, new)) == content.replace(pattern, new)


def test_joining_joins_the_same() -> None:
    one, other = b"x" * (2 * SLICE_BYTES + 1), b"y" * (3 * SLICE_BYTES)
    cases: list[list[bytes | memoryview]] = [[b"", memoryview(one)[1:], other], [one], []]
    for pieces in cases:
        assert at_once(joining(pieces)) == b"".join(pieces)


@pytest.mark.parametrize("text", [b"..dots", b"x" * 76, b"", b"x" * 999])
def test_a_large_mail_is_judged_and_changed_as_a_small_one(text: bytes) -> None:
    line = text + b"\r\n"
    content = b"Subject: large\r\nBcc: x\r\n\r\n" + line * (4 * SLICE_BYTES // len(line))
    assert unstuff(dot_stuff(content)) == content
    assert dot_stuff(content) == content.replace(b"\r\n.", b"\r\n..")
    assert crlf(content.replace(b"\r\n", b"\n")) == content
    assert assess(content).longest_line == max(998, len(line) - 2)
    sent = outgoing(content, scan(content), prepend=b"R: r\r\n")
    assert sent == b"R: r\r\n" + content.replace(b"Bcc: x\r\n", b"")


def test_there_are_moments_to_let_others_go_on_but_for_small_mail() -> None:
    assert steps(assessing(b"x\r\n" * 40_000)) == 0
    assert steps(replacing(b"\n" * SLICE_BYTES, b"\n", b"\r\n")) == 0
    assert steps(assessing(b"x" * SLICE_BYTES * 10)) >= 10
    assert steps(replacing(b"\n" * SLICE_BYTES * 10, b"\n", b"\r\n")) == 10
    assert steps(joining([b"x" * SLICE_BYTES * 10, b"y"])) == 11


def steps(taken: Steps[object]) -> int:
    return sum(1 for _ in taken)
