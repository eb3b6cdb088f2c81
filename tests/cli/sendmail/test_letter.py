"""What happens to a mail between its caller and the relay."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sendmail import letter as letters
from cli.sendmail.ending import Ended


def at_acme(name: str) -> str:
    return name if "@" in name else f"{name}@acme.test"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_kinds_of_line_ends_become_crlf(end: str) -> None:
    text = end.join(("Subject: a", " b", "", "one", "", "two", ""))
    assert letters.parse(text.encode()).content == b"Subject: a\r\n b\r\n\r\none\r\n\r\ntwo\r\n"


@pytest.mark.parametrize(
    ("given", "fields", "body"),
    [
        (b"hi\nthere\n", [], b"hi\r\nthere\r\n"),
        (b"Subject: a\nhi\n", ["subject"], b"hi\r\n"),
        (b"\nSubject: a\n", [], b"Subject: a\r\n"),
        (b"From app Mon Nov  2 10:00:00 2026\nSubject: a\n\nhi", ["subject"], b"hi\r\n"),
        (b"Subject : a\n\n", ["subject"], b""),
        (b"Subject: a", ["subject"], b""),
        (b" folded\n", [], b" folded\r\n"),
        (b"", [], b""),
    ],
)
def test_what_looks_like_no_field_begins_the_body(
    given: bytes, fields: list[str], body: bytes
) -> None:
    letter = letters.parse(given)
    assert [field.name for field in letter.fields] == fields
    assert letter.body == body


@given(st.binary(max_size=200))
def test_no_byte_but_of_line_ends_is_lost(given: bytes) -> None:
    content = letters.parse(b"Subject: a\n\n" + given).content
    assert content.startswith(b"Subject: a\r\n\r\n")
    kept = content[len(b"Subject: a\r\n\r\n") :].replace(b"\r\n", b"\n")
    assert kept.rstrip(b"\n") == given.replace(b"\r\n", b"\n").rstrip(b"\n")


def test_a_dot_ends_a_mail_where_it_is_to() -> None:
    given = b"Subject: a\n\none\n.\ntwo\n"
    assert letters.read(io.BytesIO(given), dot_ends=True) == b"Subject: a\n\none\n"
    assert letters.read(io.BytesIO(given), dot_ends=False) == given


def test_recipients_are_read_from_to_cc_and_bcc() -> None:
    letter = letters.parse(
        b"To: Bob <bob@there.test>, eve\nCc: list: a@there.test, b@there.test;\n"
        b"bcc: hidden@there.test,\n more@there.test\nTo: undisclosed-recipients:;\n\n"
    )
    found = letters.recipients_of(letter)
    assert found[:2] == ["bob@there.test", "eve"]
    assert found[2:] == [f"{name}@there.test" for name in ("a", "b", "hidden", "more")]


def test_names_in_old_character_sets_do_no_harm() -> None:
    letter = letters.parse(b"To: J\xfcrgen <bob@there.test>, J\xfcrgen <eve>\n\n")
    assert letters.recipients_of(letter) == ["bob@there.test", "eve"]
    assert b"<eve@acme.test>" in letters.qualified(letter, at_acme).content


def test_a_mail_that_is_sent_on_goes_to_those_it_is_sent_on_to() -> None:
    letter = letters.parse(b"Resent-To: eve@there.test\nTo: bob@there.test\n\n")
    assert letters.recipients_of(letter) == ["eve@there.test"]


def test_an_address_that_is_not_understood_is_not_left_out() -> None:
    letter = letters.parse(b"To: bob@there.test, <\n\n")
    with pytest.raises(Ended) as raised:
        letters.recipients_of(letter)
    assert raised.value.code == os.EX_DATAERR


def test_bcc_is_taken_out_with_all_its_lines() -> None:
    letter = letters.without_bcc(letters.parse(b"Bcc: a@b.test,\n c@d.test\nSubject: x\n\n"))
    assert letter.content == b"Subject: x\r\n\r\n"


def test_addresses_without_a_domain_get_one() -> None:
    letter = letters.parse(b"From: root (Cron Daemon)\nTo: bob@there.test,\n eve\nSubject: us\n\n")
    assert letters.qualified(letter, at_acme).content == (
        b"From: Cron Daemon <root@acme.test>\r\nTo: bob@there.test, eve@acme.test\r\n"
        b"Subject: us\r\n\r\n"
    )


def test_a_header_that_needs_nothing_stays_as_it_was_written() -> None:
    text = b"from:  Bob\t<bob@there.test>\r\nTO: J\xfcrgen <j@there.test>,\r\n a@b.test\r\n\r\n"
    assert letters.qualified(letters.parse(text), at_acme).content == text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "a@b.test"),
        ("Bob", "Bob <a@b.test>"),
        ("Bob B. (x)", '"Bob B. (x)" <a@b.test>'),
        ('B"o\\b', '"B\\"o\\\\b" <a@b.test>'),
        ("Jürgen", "=?utf-8?q?J=C3=BCrgen?= <a@b.test>"),
        ("a\r\nBcc: x@y.test", '"a Bcc: x@y.test" <a@b.test>'),
    ],
)
def test_a_name_becomes_what_a_header_may_have(name: str, written: str) -> None:
    assert letters.mailbox(name, "a@b.test") == written


def test_only_what_is_missing_is_added() -> None:
    letter = letters.parse(b"DATE: yesterday\n\n")
    fields = (("Date", lambda: "now"), ("From", lambda: "a@b.test"))
    added = letters.completed(letter, fields).content
    assert added == b"From: a@b.test\r\nDATE: yesterday\r\n\r\n"
