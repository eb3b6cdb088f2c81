"""Header fields from REST: injection refused, ASCII readable, lines folded."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import Refused
from relay.formats.fields import check_headers, check_name, check_value, encode_text
from relay.formats.headers import decode_words

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from("  aé😀"),
    max_size=200,
)


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nBcc: v@x",
        "a\rb",
        "a\nb",
        "a\x00b",
        "a\x0bb",
        "a\x0cb",
        "a\x1fb",
        "a\x7fb",
        "a\x85b",
        "a\x9bb",
        "a\u2028b",
        "a\u2029b",
        "a\ud800b",
        "=?utf-8?q?a=0D=0ABcc=3A_v=40x?=",
        "=?UTF-8?Q?a=0d=0aBcc:v?=",
        "=?utf-8?b?YQ0KQmNjOiB2QHg=?=",
        "=?utf-8*en?b?YQ0K?=",
        "=?us-ascii?q?a?= =?us-ascii?q?=0A?=",
        "x=?utf-8?q?=0D?=y",
        "=?utf-8?q?a=C2=85b?=",
        "=?utf-7?q?+2AA-?=",
        "x" * 10_001,
    ],
)
def test_a_value_that_could_end_its_line_is_refused(value: str) -> None:
    with pytest.raises(Refused, match=r"^subject: "):
        check_value("subject", value)


@pytest.mark.parametrize("value", ["", "plain", "Grüße 😀", "a\tb", "=?utf-8?q?caf=C3=A9?=", "=?"])
def test_an_honest_value_is_taken(value: str) -> None:
    check_value("subject", value)


@pytest.mark.parametrize(
    "name",
    [
        "Bcc",
        "From",
        "To",
        "Cc",
        "Reply-To",
        "Subject",
        "Date",
        "Message-ID",
        "Sender",
        "Received",
        "Return-Path",
        "DKIM-Signature",
        "MIME-Version",
        "Content-Type",
        "content-transfer-encoding",
        "Resent-To",
        "X-Pillarbox-Id",
        "a:b",
        "a b",
        "a\r\nb",
        "a\n",
        "é",
        "",
        "x" * 77,
        "x" * 1000,
    ],
)
def test_a_name_that_is_not_the_clients_is_refused(name: str) -> None:
    for spelled in (name, name.upper()):
        with pytest.raises(Refused) as refused:
            check_name(spelled)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["X-Campaign", "List-Unsubscribe", "In-Reply-To", "x" * 76])
def test_a_name_that_is_the_clients_is_taken(name: str) -> None:
    check_name(name)


def test_headers_are_bounded_in_number_and_size() -> None:
    check_headers([("X-A", "b")] * 100)
    for headers in ([("X-A", "b")] * 101, [("X-A", "b" * 9_000)] * 8, [("Bcc", "v@x")]):
        with pytest.raises(Refused):
            check_headers(headers)


def test_ascii_stays_readable_beside_what_must_be_encoded() -> None:
    assert encode_text("Order 7 shipped", 9) == b"Order 7 shipped"
    assert encode_text("Order für Zoë is ready", 9) == (
        b"Order =?utf-8?q?f=C3=BCr_Zo=C3=AB?= is ready"
    )
    assert encode_text("Привет", 9) == b"=?utf-8?b?0J/RgNC40LLQtdGC?="
    assert encode_text("für Zoë", 9, raw_utf8=True) == "für Zoë".encode()


def read_back(written: bytes, *, utf8: bool = False) -> str:
    parser = policy.default.clone(utf8=utf8)
    return str(message_from_bytes(b"Subject: " + written + b"\r\n\r\n", policy=parser)["Subject"])


@settings(max_examples=100, deadline=None)
@given(TEXT.filter(lambda text: "=?" not in text), st.booleans())
def test_what_is_written_reads_back_the_same(value: str, raw_utf8: bool) -> None:
    written = encode_text(value, 9, raw_utf8=raw_utf8)
    assert read_back(written, utf8=raw_utf8) == value
    assert raw_utf8 or written.isascii()
    assert all(line.strip() for line in written.split(b"\r\n")) or not value


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abcé😀", min_size=1, max_size=40), min_size=1, max_size=40))
def test_lines_are_folded_at_78_and_words_end_at_75(words: list[str]) -> None:
    first, *others = (b"Subject: " + encode_text(" ".join(words), 9)).split(b"\r\n")
    assert all(len(line) <= 78 and line.startswith(b" ") for line in others)
    assert len(first) <= 78 or b" " not in first[9:]


def test_a_word_too_long_for_any_line_is_encoded() -> None:
    written = encode_text("x" * 5_000, 9)
    assert max(map(len, written.split(b"\r\n"))) <= 78
    assert read_back(written) == "x" * 5_000


def test_white_space_at_the_ends_is_encoded_because_readers_strip_it() -> None:
    for value in (" a", "a ", " ", "\ta\t"):
        written = encode_text(value, 9)
        assert written.startswith(b"=?")
        assert decode_words(written.decode()) == value
