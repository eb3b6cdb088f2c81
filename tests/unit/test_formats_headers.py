"""Heads and lines: smuggling refused, fields found, untouched bytes kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import ContentRefused
from relay.formats.headers import (
    Trace,
    assess,
    crlf,
    decode_words,
    display,
    dot_stuff,
    outgoing,
    received,
    scan,
    unstuff,
)
from relay.model import ContentTraits

LINE = st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0"))
DOTTED = st.lists(LINE | st.sampled_from([b".", b"..", b".x", b""]), max_size=12)
HEAD_LINE = st.sampled_from(
    b"Subject: a|To: x|BccX: kept| folded|\tfolded|no field||Bcc: v@x|bcc : v@x|Resent-BCC: v@x"
    b"|X-Pillarbox-Id: 1|X-PILLARBOX-Any:".split(b"|")
)


@pytest.mark.parametrize(
    "content",
    [
        b"one\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<v@x>\r\nDATA\r\ntwo\r\n",
        b"one\n.\nMAIL FROM:<evil@x>\r\n",
        b"one\r\n.\nMAIL FROM:<evil@x>\r\n",
        b"one\r\n.\rtwo\r\n",
        b"one\r.\r\ntwo\r\n",
        b"one\r.\rtwo\r\n",
        b"one\r\n\x00.\r\ntwo\r\n",
        b"a\x00b\r\n",
        b"one\n\rtwo\r\n",
        b"one\r\r\n",
        b"one\r",
        b"\n",
        b"x\r\n" * 10_000 + b"one\n.\r\n",
        b"x\r\n" * 10_000 + b"one\r.\r\n",
    ],
)
def test_bytes_that_smuggle_are_refused(content: bytes) -> None:
    with pytest.raises(ContentRefused) as refused:
        assess(content)
    assert (refused.value.code, refused.value.enhanced) == (550, "5.6.11")


@pytest.mark.parametrize(
    ("content", "traits"),
    [
        (b"", ContentTraits(longest_line=998)),
        (b"A: b\r\n\r\nabc\r\n", ContentTraits(longest_line=998)),
        (b"A: b\r\n\r\n\xc3\xa9\r\n", ContentTraits(has_8bit=True, longest_line=998)),
        (b"A: \xe9\r\n\r\nx", ContentTraits(True, True, 998)),
        (b"\r\nA: \xe9\r\n", ContentTraits(True, False, 998)),
        (b"A: b\r\nno field \xe9\r\n", ContentTraits(True, False, 998)),
        (b"x" * 999, ContentTraits(longest_line=999)),
        (b"x\r\n" * 9_000, ContentTraits(longest_line=998)),
        (b"x\r\n" * 9_000 + b"y" * 999 + b"\r\n", ContentTraits(longest_line=999)),
        (
            b"y" * 5_000 + b"\r\n" + b"x\r\n" * 9_000 + b"z" * 7_000,
            ContentTraits(False, False, 7000),
        ),
        (b"y" * 20_000, ContentTraits(longest_line=20_000)),
    ],
)
def test_a_mail_says_what_it_needs(content: bytes, traits: ContentTraits) -> None:
    assert assess(content) == traits


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2500), min_size=12, max_size=30))
def test_the_longest_line_is_exact_over_998(lengths: list[int]) -> None:
    content = b"\r\n".join(b"x" * length for length in [*lengths, 17_000 - sum(lengths)])
    longest = max(map(len, content.split(b"\r\n")))
    assert assess(content).longest_line == max(longest, 998)


def test_25_mb_of_line_ends_are_assessed_without_a_list_of_them() -> None:
    assert assess(b"\r\n" * 12_500_000).longest_line == 998


def test_bare_lf_is_repaired_and_nothing_else() -> None:
    assert crlf(b"a\nb\r\n\n") == b"a\r\nb\r\n\r\n"
    for content in (b"a\rb", b"a\r\r\n", b"a\0"):
        with pytest.raises(ContentRefused):
            crlf(content)


def test_dots_are_stuffed_and_taken_off_again() -> None:
    assert unstuff(b"\r\n..\r\n...\r\n") == b"\r\n.\r\n..\r\n"
    assert dot_stuff(b".a\r\n.\r\n\r\nb.\r\n") == b"..a\r\n..\r\n\r\nb.\r\n"
    assert dot_stuff(b"no end") == b"no end\r\n"
    assert dot_stuff(b"") == b"\r\n"


@settings(max_examples=100, deadline=None)
@given(DOTTED)
def test_unstuffing_undoes_stuffing(lines: list[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in lines) or b"\r\n"
    stuffed = dot_stuff(content)
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert unstuff(stuffed) == content


def test_fields_are_found_in_any_case_unfolded_and_decoded() -> None:
    head = scan(
        b"Received: one\r\nrECEIVED: two\r\nSubject:  a\r\n\tb\r\n  c \r\nX-Raw: \xc3\xa9\r\n"
        b"X-Latin: \xe9\r\nEmpty:\r\nOld \t: x\r\n\r\nBody: no\r\n"
    )
    assert head.count("Received") == 2
    assert head.all("received") == ["one", "two"]
    assert head.first("SUBJECT") == "a\tb  c"
    assert (head.first("x-raw"), head.first("x-latin")) == ("é", "é")
    assert head.first("Empty") == ""
    assert head.first("old") == "x"
    assert head.first("body") is None
    assert head.has("Empty")
    assert not head.has("body")


def test_the_head_ends_at_the_empty_line_or_the_first_line_that_is_no_field() -> None:
    assert scan(b"A: b\r\nC: d\r\n\r\nx").size_bytes == 12
    assert scan(b"A: b\r\nnonsense\r\nC: d\r\n").size_bytes == 6
    assert scan(b"A: b").first("a") == "b"
    assert scan(b"").fields == ()
    assert scan(b"\r\nA: b\r\n").fields == ()
    assert scan(b" A: b\r\n").fields == ()


@pytest.mark.parametrize(
    "content",
    [
        b"X: " + b"y" * 102_400 + b"\r\n",
        b"X: y\r\n" + b" z\r\n" * 40_000,
        b"X: y\r\n" * 1001,
        b"X" * 250 + b": " + b"y" * 102_400,
        (b"X: " + b"y" * 995 + b"\r\n") * 102 + b"X: " + b"y" * 390 + b"\r\nBcc: v@x\r\n\r\n",
    ],
)
def test_a_head_over_the_bounds_is_refused(content: bytes) -> None:
    with pytest.raises(ContentRefused) as refused:
        scan(content)
    assert (refused.value.code, refused.value.enhanced) == (552, "5.3.4")


def test_a_long_body_without_a_head_is_no_large_head() -> None:
    assert scan(b"y" * 1_000_000).size_bytes == 0
    assert scan(b"A: b\r\n\r\n" + b"Y: y\r\n" * 100_000).size_bytes == 6


def test_bcc_and_our_own_fields_are_taken_out_and_all_else_is_kept() -> None:
    content = (
        b"Subject:  odd   spacing \r\nBCC: v@x,\r\n w@x\r\nX-Pillarbox-Id: 7\r\nTo: t@x\r\n"
        b"resent-bcc : v@x\r\nBcc-Like: kept\r\nX-Drop: me\r\n\r\nBcc: body\r\n"
    )
    assert outgoing(content, scan(content), prepend=b"Received: r\r\n", drop=("x-DROP",)) == (
        b"Received: r\r\nSubject:  odd   spacing \r\nTo: t@x\r\nBcc-Like: kept\r\n\r\nBcc: body\r\n"
    )


def test_a_mail_without_a_head_gets_the_line_that_parts_it_from_ours() -> None:
    for content in (b"hello\r\n", b"\r\nhello\r\n"):
        assert outgoing(content, scan(content), prepend=b"R: r\r\n") == b"R: r\r\n\r\nhello\r\n"


@settings(max_examples=100, deadline=None)
@given(st.lists(HEAD_LINE, max_size=12), st.binary(max_size=40))
def test_outgoing_keeps_every_untouched_byte(lines: list[bytes], body: bytes) -> None:
    content = b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    head = scan(content)
    sent = outgoing(content, head, prepend=b"Received: r\r\n")
    after = scan(sent)
    assert not any(after.has(name) for name in ("Bcc", "Resent-Bcc", "X-Pillarbox-Id"))
    assert sent.endswith(content[head.size_bytes :])
    gone = sum(
        field.end - field.start
        for field in head.fields
        if field.name in (b"bcc", b"resent-bcc") or field.name.startswith(b"x-pillarbox-")
    )
    added = 0 if head.fields or content.startswith(b"\r\n") else 2
    assert len(sent) == len(b"Received: r\r\n") + len(content) - gone + added


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_scan_takes_any_bytes(content: bytes) -> None:
    head = scan(content)
    assert content.startswith(head.block)
    display(head)
    for field in head.fields:
        assert head.first(field.name.decode()) is not None


@pytest.mark.parametrize(
    ("peer_ip", "helo", "first_line"),
    [
        ("192.0.2.1", "client.example", b"from client.example ([192.0.2.1])"),
        ("2001:db8::1", "[x]", b"from [x] ([IPv6:2001:db8::1])"),
        ("192.0.2.1", "", b"from [192.0.2.1] ([192.0.2.1])"),
        ("192.0.2.1", "a\r\nBcc: é <x>", b"from a??Bcc:????x? ([192.0.2.1])"),
    ],
)
def test_received_is_one_printable_field(peer_ip: str, helo: str, first_line: bytes) -> None:
    date = "Fri, 21 Nov 2025 10:00:00 +0000\r\nX: y"
    field = received(Trace(helo, peer_ip, "mx.example", "ESMTPSA", "0193-pk", date))
    assert field.splitlines() == [
        b"Received: " + first_line,
        b"\tby mx.example with ESMTPSA",
        b"\tid 0193-pk;",
        b"\tFri, 21 Nov 2025 10:00:00 +0000??X: y",
    ]
    assert assess(field)
    assert len(scan(field).fields) == 1


def test_a_helo_of_any_length_makes_no_long_line() -> None:
    field = received(Trace("h" * 9_000, "192.0.2.1", "mx.example", "ESMTP", "pk", "d" * 9_000))
    assert max(map(len, field.splitlines())) < 400


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= an =?UTF-8?B?w6k=?=", "Grüße an é"),
        ("=?utf-8?b?8J+Y?= =?utf-8?b?gA==?=", "😀"),
        ("=?iso-8859-1?Q?a_b?=  =?utf-8*en?q?c?=", "a bc"),
        ("=?koi8-r?B?8NLJ18XU?=", "Привет"),
        ("=?utf-8?q?a=0D=0ABcc=3A_v=40x?=", "a\r\nBcc: v@x"),
        ("=?no-such-set?q?a=E9?=", "aé"),
        ("=?unicode_escape?q?=5Cu0041?=", "\\u0041"),
        ("=?utf-8?b?A?=", "A"),
        ("=?utf-8?x?a?= =?", "=?utf-8?x?a?= =?"),
    ],
)
def test_encoded_words_are_decoded(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=60),
    st.sampled_from(["utf-8", "utf-7", "utf-16", "hz", "idna", "base64_codec", "zip", "x"]),
    st.sampled_from("bBqQ"),
)
def test_decoding_words_never_raises(text: str, charset: str, encoding: str) -> None:
    decode_words(f"=?{charset}?{encoding}?{text}?= {text}")


def test_a_listing_shows_decoded_printable_and_cut_text() -> None:
    head = scan(
        b"From: =?utf-8?q?Zo=C3=AB?= <z@x>\r\nTo: a@b\r\nMessage-ID: <1@x>\r\n"
        b"Subject: =?utf-8?q?a=0Ab=00?=" + b"c" * 2_000 + b"\r\n"
    )
    summary = display(head)
    assert summary.sender == "Zoë <z@x>"
    assert summary.cc == ""
    assert summary.subject.startswith("a b c")
    assert len(summary.subject) == 998
