"""What IMAP servers answer, and how they are asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bounces.responses import (
    MOST_UIDS,
    Line,
    Mail,
    batches,
    folder_name,
    mails,
    quoted,
    since,
    sizes,
    uid_set,
    uid_validity,
    uids_after,
)

DONE = b"Fetch completed (0.001 + 0.000 secs)."


def test_the_validity_of_a_folder_is_told_among_other_things() -> None:
    lines = [b"FLAGS (\\Seen)", b"3 EXISTS", b"OK [UIDVALIDITY 3857529045] UIDs valid"]
    assert uid_validity(lines) == 3857529045
    assert uid_validity(lines[:2]) is None


def test_the_last_mail_is_not_taken_for_a_new_one() -> None:
    # "8:*" is "*:8" where the last is 7 (RFC 9051 §9, seq-range).
    assert uids_after([b"7", b"Search completed."], 7) == []
    assert uids_after([b"9 8", b"12", b"Search completed (0.001 + 3 secs)."], 7) == [8, 9, 12]


def test_of_many_mails_the_first_ones_are_read_first() -> None:
    line = b" ".join(b"%d" % n for n in range(MOST_UIDS * 2, 0, -1))
    assert uids_after([line], 5) == list(range(6, MOST_UIDS + 6))


def test_sizes_are_taken_of_what_was_asked_for_only() -> None:
    lines = [
        b"2 FETCH (RFC822.SIZE 20 UID 12)",
        b"1 FETCH (UID 11 RFC822.SIZE 1000)",
        b"4 FETCH (FLAGS (\\Seen))",
        b"3 FETCH (UID 99 RFC822.SIZE 1)",
        DONE,
    ]
    assert sizes(lines, {11, 12}) == {11: 1000, 12: 20}


def test_a_mail_is_what_came_as_a_literal_whichever_side_its_number_stands() -> None:
    lines: list[Line] = [
        b"2 FETCH (UID 12 BODY[]<0> {5}",
        bytearray(b"UID 9"),
        b")",
        b"1 FETCH (BODY[]<0> {3}",
        bytearray(b"one"),
        b" UID 11)",
        b"3 FETCH (UID 13 BODY[]<0> NIL)",
        DONE,
    ]
    found = mails(lines, {11: 3, 12: 500, 13: 7})
    assert found == [Mail(11, 3, b"one"), Mail(12, 500, b"UID 9")]
    assert [mail.is_cut for mail in found] == [False, True]


@given(st.lists(st.binary()))
def test_no_answer_makes_them_raise(texts: list[bytes]) -> None:
    lines: list[Line] = [bytearray(text) if n % 2 else text for n, text in enumerate(texts)]
    sizes(lines, {1})
    mails(lines, {1: 1})
    uids_after(lines, 0)
    uid_validity(lines)


def test_mails_are_fetched_together_up_to_a_size_and_a_number() -> None:
    asked = {1: 10, 2: 80, 3: 30, 4: 5000, 5: 1, 6: 1, 7: 1}
    found = [list(batch) for batch in batches(asked, 100, 2)]
    assert found == [[1, 2], [3], [4], [5, 6], [7]]
    assert list(batches({}, 100, 2)) == []


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("INBOX", '"INBOX"'),
        ("Rücklauf", '"R&APw-cklauf"'),
        ("A & B", '"A &- B"'),
        ("台北/日本語", '"&U,BTFw-/&ZeVnLIqe-"'),  # RFC 3501 §5.1.3
        ('say "hi"', '"say \\"hi\\""'),
    ],
)
def test_a_folder_is_named_in_modified_utf_7(name: str, written: str) -> None:
    assert folder_name(name) == written


def test_words_are_quoted_so_that_they_stay_words() -> None:
    assert quoted('a"b\\c d') == '"a\\"b\\\\c d"'
    assert uid_set([3, 1]) == "3,1"


def test_a_day_is_written_in_english_everywhere() -> None:
    assert since(1_795_379_872) == "22-Nov-2026"
    assert since(0) == "1-Jan-1970"
