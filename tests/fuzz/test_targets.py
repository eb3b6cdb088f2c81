"""Each target holds its promises on its seeds, on what hypothesis makes of them, and in time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

# Repeated, they make long runs of what a pattern may try again and again.
FRAGMENTS = (
    *(b"<", b">", b'"', b"\\", b'"\\', b"(", b"(a)", b"@", b"a.", b"a@b.test,", b" ", b"\t", b"="),
    *(b"\xc3\xa9", "a@é,".encode(), "é@é.é,".encode(), b"\xff", b"+2B", b"SIZE=1 ", b"0", b","),
    *(b"=?a?q?", b"=?utf-8?q?a?= ", b"X: y\r\n", b"X:\r\n ", b"\r\n ", b":", b"From: a@b\r\n"),
    *(b"\r\n", b"\r\n.", b"\r", b"\n", b".", b"\0", b"[", b'{"a":', b"x", b"9"),
)
LONGEST_S = 5.0


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_break_no_promise(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].take(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_octets_break_a_promise(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    pieces = st.sampled_from([*target.seeds, *FRAGMENTS]) | st.binary(max_size=30)
    cut = st.tuples(pieces, st.integers(0, 40), st.integers(0, 80))
    parts = data.draw(st.lists(cut, max_size=6))
    target.take(b"".join(piece[start:end] for piece, start, end in parts))


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_octets_of_every_length_are_done_with_soon(name: str) -> None:
    target = TARGETS[name]
    for fragment in FRAGMENTS:
        for start in (b"", *target.seeds):
            octets = (start.rstrip(b"\r\n") + fragment * target.longest)[: target.longest]
            began_at = time.process_time()
            target.take(octets)
            spent_s = time.process_time() - began_at
            assert spent_s < LONGEST_S, (start, fragment)
