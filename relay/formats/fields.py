"""Header fields that a client gives by REST: which are taken, and how they are written.

Header injection stops here. A value is looked at as it is and as a reader will decode it (RFC
2047), because an encoded CR LF becomes a header line in more than one library. Text is written
readable: only what is not ASCII becomes encoded words, and lines are folded at 78.
"""

import binascii
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from relay.errors import Refused
from relay.formats.characters import has_forbidden
from relay.formats.headers.words import decode_words
from relay.value import frozen

NAME_MAX_CHARS = 76
VALUE_MAX_CHARS = 10_000
CUSTOM_MAX_FIELDS = 100
CUSTOM_MAX_BYTES = 65_536
LINE_CHARS = 78  # RFC 5322 §2.1.1, recommended
WORD_MAX_CHARS = 75  # RFC 2047 §2
LONGEST_BARE_OCTETS = 900  # with the name before it still a line under 998 octets

_NAME = re.compile(rf"[!-9;-~]{{1,{NAME_MAX_CHARS}}}")
_OWN_FIELDS = frozenset({"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"})
_RESERVED = frozenset({"sender", "received", "return-path", "dkim-signature", "mime-version"})
_RESERVED_STARTS = ("content-", "resent-", "x-pillarbox-")
_SPACES = re.compile(r"([ \t]+)")
_WORD_FRAME = len("=?utf-8?q??=")
_Q_ROOM = WORD_MAX_CHARS - _WORD_FRAME
_B_ROOM = _Q_ROOM // 4 * 3
_LEAST_ROOM = 16
# What RFC 2047 §5 (3) lets stand for itself also in a display name.
_PLAIN_IN_Q = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple(
    "_" if octet == 0x20 else chr(octet) if octet in _PLAIN_IN_Q else f"={octet:02X}"
    for octet in range(256)
)


@frozen
class Run:
    """The white space before it, and a text that is cut by line ends only when it is encoded."""

    space: str
    text: str
    is_encoded: bool = False


def check_name(name: str) -> None:
    """Raise Refused unless a client may set this field."""
    if not _NAME.fullmatch(name):
        _refuse(name[:NAME_MAX_CHARS], "is no name of a header field")
    lower = name.lower()
    if lower in _OWN_FIELDS:
        _refuse(name, "has its own field in the message")
    if lower in _RESERVED or lower.startswith(_RESERVED_STARTS):
        _refuse(name, "cannot be set")


def check_value(name: str, value: str) -> None:
    """Raise Refused, naming the field, if the value could end its line or hide that it does."""
    if len(value) > VALUE_MAX_CHARS:
        _refuse(name, f"is longer than {VALUE_MAX_CHARS} characters")
    if has_forbidden(value) or ("=?" in value and has_forbidden(decode_words(value))):
        _refuse(name, "has a control character or a line end")


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise Refused unless a client may set these (name, value) together."""
    if len(headers) > CUSTOM_MAX_FIELDS:
        _refuse("headers", f"has more than {CUSTOM_MAX_FIELDS} fields")
    size_bytes = sum(len(name) + len(value.encode("utf-8", "replace")) for name, value in headers)
    if size_bytes > CUSTOM_MAX_BYTES:
        _refuse("headers", f"has more than {CUSTOM_MAX_BYTES} bytes")
    for name, value in headers:
        check_name(name)
        check_value(name, value)


def _refuse(name: str, what: str) -> NoReturn:
    shown = ascii(name)[1:-1]
    raise Refused(f"{shown}: {what}", code=550, enhanced="5.6.0")


def encode_text(value: str, first_column: int, *, raw_utf8: bool = False) -> bytes:
    """Write an unstructured value (RFC 5322 §2.2.1) from `first_column` on, folded.

    No line end comes after it. ASCII words stay as they are, encoded words that the client made
    included; `raw_utf8` leaves the others too (RFC 6532 §3.2), for a mail that needs SMTPUTF8
    anyway.
    """
    is_short = first_column + len(value) <= LINE_CHARS
    if is_short and value.isascii() and value == value.strip(" \t"):
        return value.encode()
    return fold(text_runs(value, raw_utf8=raw_utf8), first_column)


def fold(runs: Iterable[Run], column: int) -> bytes:
    """Write runs from `column` on; a line that gets too long ends before the white space."""
    pieces: list[str] = []
    for run in runs:
        space = run.space
        for word in _words(run, column, can_fold=bool(pieces)):
            if pieces and column + len(space) + len(word) > LINE_CHARS:
                pieces.append("\r\n")
                column = 0
            pieces += (space, word)
            column += len(space) + len(word)
            space = " "
    return "".join(pieces).encode()


def encoded_words(text: str, column: int) -> list[str]:
    """Return the text as encoded words (RFC 2047), the first for a line that is `column` long.

    Q where the text is mostly ASCII, else B. No character is cut in two (§5).
    """
    is_q = sum(char.isascii() for char in text) * 2 > len(text)
    weigh, room = (_weight_in_q, _Q_ROOM) if is_q else (_weight_in_b, _B_ROOM)
    here = LINE_CHARS - column - _WORD_FRAME
    here = here if is_q else here // 4 * 3
    left = min(room, here) if here >= _LEAST_ROOM else room
    chunks = [""]
    for char in text:
        weight = weigh(char)
        if weight > left:
            chunks.append("")
            left = room
        chunks[-1] += char
        left -= weight
    return [_q_word(chunk) if is_q else _b_word(chunk) for chunk in chunks]


def _words(run: Run, column: int, *, can_fold: bool) -> Sequence[str]:
    """Return the words of a run: rather fewer that start on a new line than more that start here.

    Some readers leave white space between the encoded words of one name.
    """
    if not run.is_encoded:
        return (run.text,)
    here = encoded_words(run.text, column + len(run.space))
    if len(here) == 1 or not can_fold:
        return here
    return min(here, encoded_words(run.text, len(run.space)), key=len)


def text_runs(value: str, *, raw_utf8: bool) -> list[Run]:
    """Cut a value into runs. Neighbours that must be encoded are one run.

    White space between two encoded words is dropped by readers (RFC 2047 §6.2), so it goes inside;
    at the ends of a value it would be lost too, so such a value is encoded whole.
    """
    if value != value.strip(" \t"):
        return [Run("", value, is_encoded=True)]
    runs: list[Run] = []
    parts = _SPACES.split(value)
    for space, word in zip(["", *parts[1::2]], parts[::2], strict=True):
        is_encoded = len(word.encode()) > LONGEST_BARE_OCTETS or not (raw_utf8 or word.isascii())
        if is_encoded and runs and runs[-1].is_encoded:
            runs[-1] = Run(runs[-1].space, runs[-1].text + space + word, is_encoded=True)
        else:
            runs.append(Run(space, word, is_encoded=is_encoded))
    return runs


def _weight_in_q(char: str) -> int:
    return len(_q_text(char))


def _weight_in_b(char: str) -> int:
    return len(char.encode())


def _q_text(text: str) -> str:
    return "".join([_Q[octet] for octet in text.encode()])


def _q_word(text: str) -> str:
    return f"=?utf-8?q?{_q_text(text)}?="


def _b_word(text: str) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(text.encode(), newline=False).decode()}?="
