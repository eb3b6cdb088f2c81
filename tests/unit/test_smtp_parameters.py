"""The arguments of MAIL and RCPT, and command lines, whatever a client writes there."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Refused
from relay.formats.address import mailbox
from relay.ingress.smtp.connection import LONGER_LINES, command
from relay.ingress.smtp.parameters import MailFrom, RcptTo, mail_from, rcpt_to
from relay.ingress.smtp.wishes import LONGEST_HOLD_S, NOTHING
from relay.ingress.submission import Repair

NAMES = [
    "SIZE",
    "BODY",
    "SMTPUTF8",
    "RET",
    "ENVID",
    "AUTH",
    "HOLDFOR",
    "HOLDUNTIL",
    "BY",
    "MT-PRIORITY",
    "NOTIFY",
    "ORCPT",
    "X",
]
VALUES = [
    "",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "8BITMIME",
    "HDRS",
    "a+2Bb",
    "<>",
    "60;R",
    "-60;N",
    "60;RT",
    "2030-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "NEVER",
    "SUCCESS,FAILURE",
    "rfc822;x@y.test",
    "utf-8;ü@y.test",
]
TEXT = st.text(max_size=20)
WORDS = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | TEXT)
PATHS = st.sampled_from(["<a@b.test>", " <a@b.test>", "a@b.test", "<>", "<ü@b.test>", ""]) | TEXT
ARGUMENTS = st.builds(
    lambda path, words: path + "".join(f" {name}={value}" for name, value in words),
    PATHS,
    st.lists(WORDS, max_size=4),
)


@given(ARGUMENTS, st.booleans())
def test_mail_is_read_or_refused_with_a_reply_for_it(text: str, is_legacy: bool) -> None:
    with suppress(Refused):
        given_ = mail_from("FROM:" + text, is_legacy=is_legacy)
        check_mail(given_)


def check_mail(given_: MailFrom) -> None:
    assert not given_.sender or mailbox(given_.sender, smtputf8=True) == given_.sender
    assert given_.sender.isascii() or given_.smtputf8
    assert given_.ret in (None, "FULL", "HDRS")
    assert given_.wishes.expires_in_s is None or given_.wishes.expires_in_s > 0
    for octets in (given_.sender, given_.envid or ""):
        assert octets.isprintable()
        assert " " not in octets or '"' in octets


@given(ARGUMENTS, st.booleans(), st.booleans())
def test_rcpt_is_read_or_refused_with_a_reply_for_it(
    text: str, smtputf8: bool, is_legacy: bool
) -> None:
    with suppress(Refused):
        check_rcpt(rcpt_to("TO:" + text, smtputf8=smtputf8, is_legacy=is_legacy))


def check_rcpt(given_: RcptTo) -> None:
    assert mailbox(given_.address, smtputf8=True) == given_.address
    for octets in (given_.address, given_.notify or "", given_.orcpt or ""):
        assert octets.isprintable()
    assert " " not in (given_.orcpt or "")


@given(PATHS)
def test_what_is_read_strictly_is_read_the_same_from_an_old_device(path: str) -> None:
    with suppress(Refused):
        strict = rcpt_to("TO:" + path, smtputf8=True)
        assert rcpt_to("TO:" + path, smtputf8=True, is_legacy=True) == strict


@given(st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"\n"]))
def test_a_line_is_a_command_or_refused(octets: bytes, end: bytes) -> None:
    with suppress(Refused):
        verb, argument = command(octets + end)
        assert (octets + end).endswith(b"\r\n")
        assert verb == verb.upper()
        assert not argument.startswith(" ")


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "AUTH", "EHLO", "NOOP", "XYZ"])
def test_a_line_is_as_long_as_its_verb_may_be(verb: str) -> None:
    longest = LONGER_LINES.get(verb, 512)
    line = f"{verb} ".encode().ljust(longest - 2, b"x") + b"\r\n"
    assert command(line)[0] == verb
    with pytest.raises(Refused) as refused:
        command(b"x".join((line[:5], line[5:])))
    assert (refused.value.code, refused.value.enhanced) == (500, "5.5.2")


def test_what_asks_nothing_of_time_costs_nothing() -> None:
    assert mail_from("FROM:<a@b.test> SIZE=1").wishes is NOTHING


@pytest.mark.parametrize(
    ("argument", "repairs"),
    [
        ("FROM:<a@b.test>", ()),
        ("FROM: <a@b.test>", (Repair.SPACE_BEFORE_PATH,)),
        ("FROM:a@b.test", (Repair.NO_BRACKETS,)),
        ("FROM: a@b.test SIZE=1", (Repair.SPACE_BEFORE_PATH, Repair.NO_BRACKETS)),
    ],
)
def test_each_repair_is_named(argument: str, repairs: tuple[Repair, ...]) -> None:
    given_ = mail_from(argument, is_legacy=True)
    assert (given_.sender, given_.repairs) == ("a@b.test", repairs)


@pytest.mark.parametrize("wish", ["HOLDFOR=31622401", "HOLDUNTIL=2002-01-01T00:00:01Z"])
def test_a_release_beyond_the_horizon_is_refused(wish: str) -> None:
    then = 1_009_843_200.0  # 2002-01-01
    wishes = mail_from(f"FROM:<a@b.test> {wish}").wishes
    with pytest.raises(Refused, match=re.escape("farther away")):
        wishes.check(then - LONGEST_HOLD_S)
