"""Bounces cut, shuffled, repeated and spoilt: the reader never raises and never lingers."""

import random
import resource
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.formats.bounce.model import Kind, Returned
from relay.formats.bounce.read import read_bounce

CORPUS = Path(__file__).parents[1] / "data" / "bounces"
MAILS = tuple(path.read_bytes() for path in sorted(CORPUS.glob("*.eml")))
LIMIT_S = 1.0
ORDINARY_LIMIT_S = 0.002
"Four times what it takes here: every mail that comes in is read so."
MEMORY_LIMIT_BYTES = 100 * 1024 * 1024
MEBIBYTE = 1024 * 1024

HEAD = b"From: MAILER-DAEMON@a.test\r\nSubject: Undelivered mail\r\n"
REPORT = HEAD + b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"


def cut(mail: bytes, chance: random.Random) -> bytes:
    return mail[: chance.randrange(len(mail))]


def shuffle_lines(mail: bytes, chance: random.Random) -> bytes:
    lines = mail.splitlines(keepends=True)
    start = chance.randrange(len(lines))
    window = lines[start : start + 40]
    chance.shuffle(window)
    return b"".join([*lines[:start], *window, *lines[start + 40 :]])


def flip_octets(mail: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(mail)
    for _ in range(50):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def repeat_lines(mail: bytes, chance: random.Random) -> bytes:
    lines = mail.splitlines(keepends=True)
    start = chance.randrange(len(lines))
    return b"".join([*lines[:start], *lines[start : start + 5] * 500, *lines[start:]])


def join_two(mail: bytes, chance: random.Random) -> bytes:
    return cut(mail, chance) + chance.choice(MAILS)


Mutation = Callable[[bytes, random.Random], bytes]
MUTATIONS: tuple[Mutation, ...] = (cut, shuffle_lines, flip_octets, repeat_lines, join_two)


def assert_can_be_stored(returned: Returned) -> None:
    """PostgreSQL takes no NUL and UTF-8 no lone surrogate."""
    told = repr(asdict(returned))
    assert "\\x00" not in told
    assert "\\ud" not in told


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MAILS), st.sampled_from(MUTATIONS), st.integers(0, 2**32))
def test_a_spoilt_bounce_is_read_without_an_exception_and_in_time(
    mail: bytes, mutation: Mutation, seed: int
) -> None:
    chance = random.Random(seed)
    begun = time.perf_counter()
    returned = read_bounce(mutation(mail, chance))
    assert time.perf_counter() - begun < LIMIT_S
    assert_can_be_stored(returned)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=4_000))
def test_any_octets_are_read_without_an_exception(octets: bytes) -> None:
    assert_can_be_stored(read_bounce(octets))
    assert_can_be_stored(read_bounce(HEAD + b"\r\n" + octets))
    report = REPORT + b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: "
    assert_can_be_stored(read_bounce(report + octets))


@pytest.mark.parametrize(
    "mail",
    [
        REPORT + b"Content-Type: message/delivery-status\r\n\r\nOriginal-Envelope-Id: a+00b\r\n\r\n"
        b"Final-Recipient: utf-8; a\\x{D800}\\x{0}b@b.test\r\nDiagnostic-Code: smtp; 550 \x00\r\n",
        HEAD + b'\r\n{"notificationType":"Bounce","bounce":{"bouncedRecipients":'
        b'[{"emailAddress":"a\\u0000\\ud800@b.test","status":"5.1.1"}]}}\r\n',
        HEAD + b"Content-Type: text/html\r\n\r\n<p>a&#0;&#xd800;@b.test</p>\r\n",
    ],
)
def test_escapes_do_not_bring_in_what_cannot_be_stored(mail: bytes) -> None:
    returned = read_bounce(mail)
    assert returned.recipients
    assert_can_be_stored(returned)


HOSTILE = {
    "a long line": HEAD + b"\r\n" + b"a@" * MEBIBYTE,
    "a million brackets": HEAD + b"\r\n" + b"<" * MEBIBYTE,
    "a million brackets as a page": HEAD + b"Content-Type: text/html\r\n\r\n" + b"<br " * MEBIBYTE,
    "lines of addresses": HEAD + b"\r\n" + b"<a@b.test>:\r\n" * 400_000,
    "lines that begin like forms": HEAD
    + b"\r\n"
    + b"Deliver to: deliver to: for a b c\r\n" * 99_999,
    "spaces and dashes": HEAD + b"\r\n" + b"- " * MEBIBYTE,
    "quotes": HEAD + b"\r\n" + (b'"' * 900 + b"@\r\n") * 2_000,
    "status codes": HEAD + b"\r\n<a@b.test>:\r\n" + b"550 5.1.1." * MEBIBYTE,
    "many recipients": REPORT
    + b"Content-Type: message/delivery-status\r\n\r\n"
    + b"".join(
        b"Final-Recipient: rfc822;%d@b.test\r\nDiagnostic-Code: smtp; %d %s\r\n\r\n"
        % (number, number, b"the mailbox of that user * " * 100)
        for number in range(3_000)
    ),
    "a deep tree": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
        for depth in range(20_000)
    ),
    "many parts": REPORT + b"Content-Type: text/plain\r\n\r\nx\r\n--b\r\n" * 50_000,
    "a long head": b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(50_000)),
    "one folded field": b"To: a@b.test" + b",\r\n a@b.test" * 200_000,
    "deep JSON": HEAD + b'\r\n{"notificationType":' + b"[" * 200_000,
    "broken base64": HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=?!A" * 200_000,
    "a charset that is a trap": HEAD
    + b"Content-Type: text/plain; charset=punycode\r\n\r\n"
    + b"-" * 99_999,
    "fifty mebibytes": HEAD + b"\r\n" + b"x" * 70 + b"\r\n" * (50 * MEBIBYTE // 2),
}


@pytest.mark.parametrize("mail", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_mail_costs_neither_time_nor_memory(mail: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    read_bounce(mail)
    assert time.perf_counter() - begun < LIMIT_S
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown_bytes < MEMORY_LIMIT_BYTES


def test_ordinary_mail_is_no_bounce() -> None:
    for mail in (
        b"From: bob@shop.test\r\nTo: me@x.test\r\nSubject: Your order\r\n\r\nSee bob@shop.test\r\n",
        b"From: shop@shop.test\r\nTo: me@x.test\r\nSubject: Delivery of your parcel\r\n\r\n"
        b"Your parcel could not be delivered to: home@x.test\r\n",
        b"From: Administrator <administrator@x.test>\r\nSubject: Backup failed with an error\r\n"
        b"\r\nAsk bob@x.test about it.\r\n",
        b"",
        b"\x00\xff" * 100,
    ):
        returned = read_bounce(mail)
        assert (returned.kind, returned.recipients) == (Kind.NONE, ())


def test_ordinary_mail_is_cheap() -> None:
    text = b"Lorem ipsum dolor sit amet, write to bob@shop.test about your order.\r\n" * 300
    mail = b"From: bob@shop.test\r\nTo: me@x.test\r\nSubject: Your order\r\n\r\n" + text
    assert min(timeit.repeat(lambda: read_bounce(mail), number=1, repeat=30)) < ORDINARY_LIMIT_S


def test_out_of_office_is_no_bounce() -> None:
    mail = b"From: bob@shop.test\r\nSubject: Out\r\nAuto-Submitted: auto-replied\r\n\r\nBye\r\n"
    returned = read_bounce(mail)
    assert (returned.kind, returned.reason) == (Kind.NONE, "vacation")
    assert returned.recipients[0].address == "bob@shop.test"
