"""The lines of a mail: what may not be in them, how long they are, and the dots of DATA.

RFC 5321 §2.3.8 knows CRLF only. A bare CR or LF is what SMTP smuggling is made of, so it is
refused, not passed on. Each function is a few searches of the bytes in C; no line is looked at in
Python unless there is need.

A search holds up everything else in the process: of 25 MB for tens of milliseconds. Hence the
functions in -ing: they do the same in steps, and what yields between them can let others go on.
"""

from relay.errors import ContentRefused
from relay.formats.headers.head import scan
from relay.formats.headers.slices import SLICE_BYTES, Steps, at_once, cut, finding, replacing
from relay.model import ContentTraits

LINE_MAX_OCTETS = 998  # RFC 5322 §2.1.1, without the CRLF
_REST_AFTER_BYTES = 262_144


def assess(content: bytes) -> ContentTraits:
    """Tell what the mail needs from an upstream. Raises ContentRefused for NUL, bare CR, bare LF.

    `longest_line` is exact where it is over 998; else it is 998.
    """
    return at_once(assessing(content))


def assessing(content: bytes, *, is_dotless: bool = False) -> Steps[ContentTraits]:
    """As `assess`; whether it is `is_dotless` is for the caller to know."""
    yield from _refusing_stray(content)
    longest = yield from _leaping(content)
    if content.isascii():
        return ContentTraits(longest_line=longest, is_dotless=is_dotless)
    return ContentTraits(
        has_8bit=True,
        has_utf8_headers=not scan(content).block.isascii(),
        longest_line=longest,
        is_dotless=is_dotless,
    )


def crlf(content: bytes) -> bytes:
    """Make each bare LF a CRLF. Raises ContentRefused for NUL and bare CR."""
    return at_once(making_crlf(content))


def making_crlf(content: bytes) -> Steps[bytes]:
    unified = yield from replacing(content, b"\r\n", b"\n")
    if b"\r" in unified:
        raise ContentRefused("Bare CR is not accepted")
    if b"\0" in unified:
        raise ContentRefused("NUL is not accepted")
    return (yield from replacing(unified, b"\n", b"\r\n"))


def longest_line(content: bytes) -> int:
    """Return the octets of the longest line, CRLF not counted; as exact as `assess` says."""
    return at_once(_leaping(content))


def dot_stuff(content: bytes, *, is_dotless: bool = False) -> bytes:
    """Return the mail as DATA sends it (RFC 5321 §4.5.2): ends with CRLF, no final dot. What is
    `is_dotless`, as `ContentTraits` has it, is not searched.
    """
    return at_once(dot_stuffing(content, is_dotless=is_dotless))


def dot_stuffing(content: bytes, *, is_dotless: bool = False) -> Steps[bytes]:
    if not is_dotless:
        content = yield from replacing(content, b"\r\n.", b"\r\n..")
        if content.startswith(b"."):
            content = b"." + content
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def unstuff(content: bytes) -> bytes:
    """Undo the dot stuffing of what came between DATA and the final dot."""
    return at_once(unstuffing(content))


def unstuffing(content: bytes) -> Steps[bytes]:
    content = yield from replacing(content, b"\r\n.", b"\r\n")
    return content[1:] if content.startswith(b".") else content


def _leaping(content: bytes) -> Steps[int]:
    """Leap over as many lines as together are not longer than the longest: none of them beats
    it.
    """
    longest = LINE_MAX_OCTETS
    at, rest_at = 0, _REST_AFTER_BYTES
    while at + longest < len(content):
        end = content.rfind(b"\r\n", at, at + longest + 2)
        if end < 0:
            end = yield from finding(content, b"\r\n", at + longest)
            end = len(content) if end < 0 else end
            longest = end - at
        at = end + 2
        if at >= rest_at:
            rest_at = at + _REST_AFTER_BYTES
            yield
    return longest


def _refusing_stray(content: bytes) -> Steps[None]:
    at = 0
    while at < len(content):
        end = cut(content, at + SLICE_BYTES, b"\r\n")
        _check_line_ends(content[at:end])
        at = end
        if at < len(content):
            yield
    if b"\0" in content:
        raise ContentRefused("NUL is not accepted")


def _check_line_ends(piece: bytes) -> None:
    # To take all CR out and put them in again costs a quarter of counting them and the LF.
    if piece.replace(b"\r", b"").replace(b"\n", b"\r\n") == piece:
        return
    what = "CR" if piece.count(b"\n") == piece.count(b"\r\n") else "LF"
    raise ContentRefused(f"Bare {what} is not accepted")
