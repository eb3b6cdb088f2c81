from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch.reply import (
    Ledger,
    ProtocolError,
    Reply,
    ReplyParser,
    next_portion,
    printable,
    verdict,
)
from relay.model import Outcome, Pending, Verdict


def parsed(data: bytes) -> list[Reply]:
    return list(ReplyParser().feed(data))


def test_a_reply_of_one_line_is_code_enhanced_code_and_text() -> None:
    assert parsed(b"550 5.1.1 no such user\r\n") == [Reply(550, "5.1.1", "5.1.1 no such user")]


def test_a_reply_of_several_lines_is_one_reply() -> None:
    assert parsed(b"250-2.0.0 all\r\n250-is\r\n250 well\r\n") == [
        Reply(250, "2.0.0", "2.0.0 all is well")
    ]


def test_a_bare_line_feed_ends_a_line_too() -> None:
    assert parsed(b"250-one\n250 two\n354 go\n") == [
        Reply(250, None, "one two"),
        Reply(354, None, "go"),
    ]


def test_a_code_alone_is_a_reply() -> None:
    assert parsed(b"250\r\n") == [Reply(250, None, "")]


def test_an_enhanced_code_of_another_class_is_only_text() -> None:
    assert parsed(b"450 5.1.1 who knows\r\n")[0].enhanced is None
    assert parsed(b"250 2.1\r\n")[0].enhanced is None


@given(st.lists(st.integers(1, 12), max_size=40))
def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int]) -> None:
    data = b"250-2.1.0 a\r\n250 b\r\n550 5.1.1 c\r\n421 bye\r\n"
    parser = ReplyParser()
    replies: list[Reply] = []
    for cut in [*cuts, len(data)]:
        replies += parser.feed(data[:cut])
        data = data[cut:]
    assert [reply.code for reply in replies] == [250, 550, 421]
    assert parser.is_empty


def test_half_a_reply_is_seen_to_be_half() -> None:
    parser = ReplyParser()
    assert list(parser.feed(b"250-one\r\n")) == []
    assert not parser.is_empty


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"25O ok\r\n",
        b"250ok\r\n",
        b"\r\n",
        b"199 odd\r\n",
        b"650 odd\r\n",
        b"250-a\r\n550 b\r\n",
        b"2" * 9_000,
        b"250 " + b"x" * 9_000 + b"\r\n",
        b"250-x\r\n" * 101,
        (b"250-" + b"x" * 7_000 + b"\r\n") * 5,
    ],
)
def test_what_is_no_reply_or_too_long_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parsed(data)


def test_replies_before_the_nonsense_are_heard() -> None:
    replies = iter(ReplyParser().feed(b"250 ok\r\nnonsense\r\n"))
    assert next(replies).code == 250
    with pytest.raises(ProtocolError):
        next(replies)


@given(st.binary(max_size=2_000))
def test_any_bytes_give_replies_or_a_protocol_error(data: bytes) -> None:
    with suppress(ProtocolError):
        for reply in ReplyParser().feed(data):
            assert reply.text.isprintable()
            assert 200 <= reply.code <= 599


@given(st.text(max_size=1_500))
def test_printable_text_is_printable_and_short(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= 1_000


def test_printable_shows_what_it_escapes() -> None:
    assert printable("a\x1b[31m\r\nb\u202e") == "a\\x1b[31m\\r\\nb\\u202e"


def test_the_verdict_is_of_code_and_phase() -> None:
    assert verdict(250, "dot") is Verdict.SENT
    assert verdict(250, "rcpt") is Verdict.DEFERRED
    assert verdict(550, "rcpt") is Verdict.FAILED
    assert verdict(554, "dot") is Verdict.FAILED
    assert verdict(421, "dot") is Verdict.DEFERRED
    assert verdict(354, "dot") is Verdict.DEFERRED


def ledger_of(*codes: int, recipients: int = 3) -> Ledger:
    ledger = Ledger([Pending(n, f"{n}@b.test") for n in range(recipients)])
    for code in codes:
        ledger.dot_written = ledger.granted
        ledger.hear([Reply(code, None, "said")])
    return ledger


def told(ledger: Ledger) -> list[tuple[str, int, str]]:
    return [(o.verdict.value, o.code, o.phase) for o in ledger.outcomes()]


def test_each_recipient_has_its_own_outcome() -> None:
    assert told(ledger_of(250, 250, 550, 450, 354, 250)) == [
        ("sent", 250, "dot"),
        ("failed", 550, "rcpt"),
        ("deferred", 450, "rcpt"),
    ]


def test_a_refusal_of_data_leaves_the_refused_recipient_refused() -> None:
    ledger = ledger_of(250, 250, 550, 250, 451)
    assert told(ledger) == [
        ("deferred", 451, "data"),
        ("failed", 550, "rcpt"),
        ("deferred", 451, "data"),
    ]
    assert ledger.envelope_left


def test_a_refused_sender_is_the_outcome_of_all() -> None:
    ledger = ledger_of(550, 503, 503, 503, 503)
    assert told(ledger) == [("failed", 550, "mail")] * 3
    assert not ledger.envelope_left


def test_421_ends_it_for_all_that_were_not_refused() -> None:
    ledger = ledger_of(250, 550, 250, 421)
    assert told(ledger) == [
        ("failed", 550, "rcpt"),
        ("deferred", 421, "rcpt"),
        ("deferred", 421, "rcpt"),
    ]
    assert not ledger.in_step


@pytest.mark.parametrize(
    ("codes", "meaning", "phase"),
    [
        ((), "deferred", "mail"),
        ((250,), "deferred", "rcpt"),
        ((250, 250, 250), "deferred", "rcpt"),
        ((250, 250, 250, 250), "deferred", "data"),
        ((250, 250, 250, 250, 354), "deferred", "data"),
    ],
)
def test_a_loss_before_the_dot_is_deferred(
    codes: tuple[int, ...], meaning: str, phase: str
) -> None:
    ledger = ledger_of(*codes)
    ledger.lose("gone")
    assert told(ledger) == [(meaning, 0, phase)] * 3


def test_a_loss_after_the_dot_is_unknown_for_the_accepted_only() -> None:
    ledger = ledger_of(250, 250, 550, 250, 354)
    ledger.dot_written = True
    ledger.lose("gone")
    assert told(ledger) == [("unknown", 0, "dot"), ("failed", 550, "rcpt"), ("unknown", 0, "dot")]


def test_a_word_before_the_dot_takes_no_mail() -> None:
    ledger = ledger_of(250, 250, 354, recipients=1)
    ledger.hear([Reply(250, None, "early")])
    assert told(ledger) == [("deferred", 250, "data")]
    assert not ledger.in_step


def outcome(n: int, meaning: Verdict, code: int, enhanced: str | None, phase: str) -> Outcome:
    return Outcome(n, meaning, code, enhanced, "", phase)


def test_those_without_room_go_into_the_next_portion_at_once() -> None:
    outcomes = [
        outcome(0, Verdict.SENT, 250, None, "dot"),
        outcome(1, Verdict.DEFERRED, 452, "4.5.3", "rcpt"),
        outcome(2, Verdict.DEFERRED, 452, None, "rcpt"),
        outcome(3, Verdict.DEFERRED, 452, "4.2.2", "rcpt"),
        outcome(4, Verdict.DEFERRED, 450, None, "rcpt"),
    ]
    assert next_portion(outcomes) == {1, 2}


def test_no_portion_follows_one_that_settled_nobody() -> None:
    outcomes = [
        outcome(0, Verdict.DEFERRED, 451, None, "dot"),
        outcome(1, Verdict.DEFERRED, 452, "4.5.3", "rcpt"),
    ]
    assert next_portion(outcomes) == set()
