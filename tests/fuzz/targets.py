"""What takes octets from strangers: for each, a function that fails where a promise is broken.

Whatever comes, the answer is a value or an error of ours, and soon. `test_targets.py` runs each
target on its seeds, on what hypothesis makes of them and on hostile sizes; `python -m tests.fuzz`
looks for more with atheris.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from relay.errors import ContentRefused, Refused
from relay.formats.address import folded, mailbox, mailbox_list, sender_allowed, split_path
from relay.formats.headers import (
    assess,
    controls,
    crlf,
    display,
    dot_stuff,
    outgoing,
    scan,
    unstuff,
)
from relay.formats.headers.lines import longest_line
from relay.ingress.smtp import sasl
from relay.ingress.smtp.connection import COMMAND_MAX_OCTETS, command
from relay.ingress.smtp.content import FINAL_DOT, Pace, read_content
from relay.ingress.smtp.inbox import Inbox
from relay.ingress.smtp.parameters import mail_from, rcpt_to
from relay.ingress.smtp.proxy import V1_MAX_OCTETS, V2_MAX_OCTETS, BadHeader, source_v1, source_v2
from relay.ingress.smtp.receiving import Receiving, Share
from relay.ingress.smtp.replies import Gone, Hangup
from relay.ingress.submission import authors
from tests.unit.test_smtp_parameters import check_mail, check_rcpt

NOW = 1_800_000_000.0
MOST_CONTENT_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Target:
    """`longest` is how many octets it may be given at most in a running node."""

    take: Callable[[bytes], None]
    longest: int
    seeds: tuple[bytes, ...]


def take_command(octets: bytes) -> None:
    with suppress(Refused):
        verb, argument = command(octets)
        assert octets.endswith(b"\r\n")
        assert verb == verb.upper()
        assert not argument.startswith(" ")


def take_parameters(octets: bytes) -> None:
    for is_legacy in (False, True):
        with suppress(Refused):
            check_mail(mail_from(said(octets), is_legacy=is_legacy))
        with suppress(Refused):
            check_rcpt(rcpt_to(said(octets), smtputf8=is_legacy, is_legacy=is_legacy))


def take_address(octets: bytes) -> None:
    text = said(octets)
    with suppress(Refused):
        split_path(text)
    with suppress(Refused):
        canonical = mailbox(text, smtputf8=True)
        assert mailbox(canonical, smtputf8=True) == canonical
        assert sender_allowed(canonical, [canonical])
    assert folded(folded(text)) == folded(text)


def take_addresses(octets: bytes) -> None:
    with suppress(Refused):
        for box in mailbox_list(said(octets)):
            assert mailbox(box.address, smtputf8=True) == box.address


def take_proxy_header(octets: bytes) -> None:
    with suppress(BadHeader):
        source_v1(octets[:V1_MAX_OCTETS])
    with suppress(BadHeader):
        source_v2(octets[0], octets[1], octets[2:]) if len(octets) > 1 else None


def take_login(octets: bytes) -> None:
    with suppress(Refused):
        sasl.text(sasl.decoded(octets))
        sasl.plain(sasl.decoded(octets))
    with suppress(Refused):
        sasl.plain(octets)


def take_header(octets: bytes) -> None:
    with suppress(Refused):
        head = scan(octets)
        assert octets.startswith(head.block)
        display(head)
        for look in (lambda: controls(head, NOW), lambda: authors(head)):
            with suppress(Refused):
                look()
        sent = scan(outgoing(octets, head), max_bytes=2 * len(octets) + 2)
        assert not any(sent.has(name) for name in ("Bcc", "Resent-Bcc", "X-Pillarbox-Any"))


def take_lines(octets: bytes) -> None:
    stuffed = dot_stuff(octets)
    assert FINAL_DOT not in b"\r\n" + stuffed[: len(stuffed) - 2]
    assert unstuff(stuffed).removesuffix(b"\r\n") == octets.removesuffix(b"\r\n")
    with suppress(ContentRefused):
        repaired = crlf(octets)
        assert crlf(repaired) == repaired
        assess(repaired)
    with suppress(ContentRefused):
        traits = assess(octets)
        unpaired = octets.replace(b"\r\n", b"")
        assert unpaired.translate(None, b"\r\n\0") == unpaired
        assert traits.longest_line == longest_line(octets)


def take_content(octets: bytes) -> None:
    """Take the first octet as the length of the segments that the others come in."""
    stream = octets[1:]
    step = octets[0] + 1 if octets else 1
    segments = (stream[at : at + step] for at in range(0, len(stream), step))
    content, end, left = asyncio.run(received(segments))
    whole = b"\r\n" + stream
    found = whole.find(FINAL_DOT)
    if end == "":
        assert content == stream[:found]
        assert left == whole[found + len(FINAL_DOT) :][: len(left)]
    else:
        assert found < 0 or found > MOST_CONTENT_BYTES, end


async def received(segments: Iterator[bytes]) -> tuple[bytes, str, bytes]:
    """Return the content, how the reading failed, and what was left in the inbox."""
    inbox, loop = Inbox(), asyncio.get_running_loop()
    pace = Pace(MOST_CONTENT_BYTES, 60.0, 0.0, 60.0, loop.time() + 60.0)
    content, end = b"", ""
    with Share(Receiving(MOST_CONTENT_BYTES * 2)) as share:
        reading = asyncio.ensure_future(read_content(inbox, pace, share))
        for segment in segments:
            inbox.feed(segment)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        inbox.end()
        try:
            content, has_dots = await reading
            assert has_dots or b"\r\n." not in b"\r\n" + content
        except (Gone, Hangup, Refused) as error:
            end = repr(error)
    left = b"" if inbox.is_empty else bytes(await inbox.block(loop.time() + 1))
    return content, end, left


def said(octets: bytes) -> str:
    """Decode as a command is decoded."""
    return octets.decode("utf-8", "surrogateescape")


TARGETS = {
    "commands": Target(
        take_command,
        COMMAND_MAX_OCTETS,
        (
            b"EHLO client.test\r\n",
            b"AUTH PLAIN AGEAYg==\r\n",
            b"MAIL FROM:<a@b.test>\n",
            b"\xff\r\n",
        ),
    ),
    "parameters": Target(
        take_parameters,
        1_248,
        (
            b"FROM:<a@b.test> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=q+2B AUTH=<>",
            b"FROM:<> HOLDFOR=60 BY=-60;N MT-PRIORITY=-3",
            b"FROM:<a@b.test> HOLDUNTIL=2030-01-01T00:00:00+01:00",
            b"TO: <\xc3\xbc@b.test> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\xc3\xbc@b.test",
            b"TO:a@b.test ORCPT=rfc822;a+2Bb@c.test",
            b"TO:<a@b.test> ORCPT=utf-8;a@\xbb.test",
        ),
    ),
    "address": Target(
        take_address,
        1_048,
        (
            b'"a\\"b"@c.test',
            "ü@bücher.test".encode(),
            b" <a@b.test> X=y",
            b"a%b@c.test",
            b"@r:a@b.test",
        ),
    ),
    "addresses": Target(
        take_addresses,
        65_536,
        (b'"Ann, B." <a@b.test>, c@d.test (C (c))', "Zoë <z@é.test>".encode(), b"<a@b.test>"),
    ),
    "proxy": Target(
        take_proxy_header,
        V2_MAX_OCTETS,
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n",
            b"PROXY TCP6 ::1 ::1 1 25\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\x21\x11\xc0\0\x02\x01\x7f\0\0\x01\0\x01\0\x19",
            b"\x21\x21" + bytes(36),
        ),
    ),
    "login": Target(
        take_login, COMMAND_MAX_OCTETS, (b"AGEAYg==\r\n", b"=", b"*", b"\0a\0b", b"a\0a\0\xff")
    ),
    "header": Target(
        take_header,
        102_400,
        (
            b"From: =?utf-8?q?Zo=C3=AB?= <z@x.test>, a@b.test\r\nTo: x\r\n\r\nBcc: no\r\n",
            b"Bcc : v@x\r\n folded\r\nX-Pillarbox-Id: 1\r\nX-Pillarbox-Priority: high\r\n\r\n",
            b'X-Pillarbox-Metadata: {"a": [1]}\r\nX-Pillarbox-Deliver-At: 2030-01-01T00:00:00Z',
            b"Subject: =?iso-8859-1?b?6Q==?= =?x?q?y?=\r\nX-Pillarbox-Expires-In: 60.5\r\n",
        ),
    ),
    "lines": Target(
        take_lines,
        300_000,
        (b"one\r\n.\r\n..two\r\n", b".", b"a\nb\r\n", b"a\rb", b"a\0b", b"x" * 999 + b"\r\n"),
    ),
    "content": Target(
        take_content,
        6_000,
        (
            b"\0one\r\n.\r\nQUIT\r\n",
            b"\x04.\r\nNOOP\r\n",
            b"\xffone\n.\r\ntwo\r\n.\r\n",
            b"\x02\r\n.\r\r\n.\r\n",
            b"\xff" + b"x" * 3_000 + FINAL_DOT,
        ),
    ),
}
