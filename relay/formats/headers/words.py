"""Encoded words (RFC 2047) as text, and the few fields that listings show.

For people to read: lenient, bounded, and nothing in a mail makes it raise.
"""

import binascii
import re
from encodings.aliases import aliases

from relay.formats.characters import without_forbidden
from relay.formats.headers.head import Head
from relay.value import frozen

DECODED_MAX_CHARS = 16_384
SHOWN_MAX_CHARS = 998

_WORD = r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([BbQq])\?([^?]*)\?="
_ENCODED = re.compile(_WORD)
_RUN = re.compile(rf"{_WORD}(?:\s*{_WORD})*")
_NOT_ALNUM = re.compile("[^a-z0-9]+")
# Asked before decoding: a name unknown to `codecs` costs a search for a module.
_CHARSETS = frozenset(aliases) | frozenset(aliases.values()) | {"koi8_u"}


@frozen
class Summary:
    """What a listing shows of a mail: decoded, printable, cut; "" for what is absent."""

    sender: str
    cc: str
    subject: str


def decode_words(text: str) -> str:
    """Decode the encoded words in the first 16 K characters; what is broken stays."""
    if "=?" not in text:
        return text
    seen, rest = text[:DECODED_MAX_CHARS], text[DECODED_MAX_CHARS:]
    return _RUN.sub(lambda run: _decode_run(run[0]), seen) + rest


def display(head: Head) -> Summary:
    return Summary(
        sender=_shown(head, "from"),
        cc=_shown(head, "cc"),
        subject=_shown(head, "subject"),
    )


def _shown(head: Head, name: str) -> str:
    value = head.first(name)
    return without_forbidden(decode_words(value))[:SHOWN_MAX_CHARS] if value else ""


def _decode_run(run: str) -> str:
    """Decode adjacent words (§6.2: the white space between them is none).

    Bytes of one charset are joined first: many clients cut a character in two.
    """
    joined: list[tuple[str, bytes]] = []
    for charset, encoding, payload in _ENCODED.findall(run):
        data = _payload(encoding, payload)
        if joined and joined[-1][0] == charset.lower():
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((charset.lower(), data))
    return "".join(_decode(data, charset) for charset, data in joined)


def _payload(encoding: str, payload: str) -> bytes:
    raw = payload.encode("utf-8", "replace")
    if encoding in "Qq":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return raw


def _decode(data: bytes, charset: str) -> str:
    if _NOT_ALNUM.sub("_", charset) not in _CHARSETS:
        return data.decode("latin-1")
    try:
        return data.decode(charset, "replace")
    except (LookupError, ValueError):
        return data.decode("latin-1")
