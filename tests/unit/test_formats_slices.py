"""Large mail in slices comes out as at one go."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.formats.headers import assess, crlf, dot_stuff, outgoing, scan, unstuff
from relay.formats.headers.slices import (
    SLICE_BYTES,
    Steps,
    at_once,
    counting,
    finding,
    joining,
    replacing,
)

OCTETS = st.text("\r\n.x\0", max_size=5).map(str.encode)
# Near a cut between slices, where it is likely to go wrong.
PLACES = st.tuples(st.integers(0, 3), st.integers(-6, 3), OCTETS)
PATTERNS = (b"\r\n", b"\r\n.", b"\n", b"\r")


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    content = bytearray(b"x" * (3 * SLICE_BYTES + draw(st.integers(0, 9))))
    for slices, shift, octets in draw(st.lists(PLACES, max_size=8)):
        at = max(0, slices * SLICE_BYTES + shift)
        content[at : at + len(octets)] = octets
    return bytes(content)


@settings(max_examples=60, deadline=None)
@given(contents(), st.sampled_from(PATTERNS))
def test_searches_find_the_same(content: bytes, pattern: bytes) -> None:
    assert at_once(counting(content, pattern)) == content.count(pattern)
    start = content.find(pattern) + 1
    assert at_once(finding(content, pattern, start)) == content.find(pattern, start)


@settings(max_examples=60, deadline=None)
@given(contents(), st.sampled_from(PATTERNS), st.sampled_from([b"", b"\n", b"\r\n.."]))
def test_replacing_replaces_the_same(content: bytes, old: bytes, new: bytes) -> None:
    assert at_once(replacing(content, old, new)) == content.replace(old, new)


@settings(max_examples=20, deadline=None)
@given(contents(), contents())
def test_joining_joins_the_same(one: bytes, other: bytes) -> None:
    pieces: list[bytes | memoryview] = [one, memoryview(other)[1:], b""]
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
    assert steps(counting(b"x" * SLICE_BYTES, b"y")) == 0
    assert steps(replacing(b"\n" * SLICE_BYTES, b"\n", b"\r\n")) == 0
    assert steps(counting(b"x" * SLICE_BYTES * 10, b"y")) == 10
    assert steps(replacing(b"\n" * SLICE_BYTES * 10, b"\n", b"\r\n")) == 10
    assert steps(joining([b"x" * SLICE_BYTES * 10, b"y"])) == 11


def steps(taken: Steps[object]) -> int:
    return sum(1 for _ in taken)
