"""The bytes that a part stands for, piece by piece (RFC 2045 §6): a big one is never whole in
memory a second time.
"""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

PIECE_BYTES = 256 * 1024

_PLAIN = ("7bit", "8bit", "binary")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _ALPHABET)


class Undecodable(ValueError):
    """The part is not what its encoding says, or its encoding is unknown."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a part: where it is in the mail, and its transfer encoding in lower case."""

    start: int
    end: int
    encoding: str


def decoded_pieces(content: bytes, body: Body) -> Iterator[bytes]:
    """Decode it; raises Undecodable, maybe after some pieces."""
    if body.encoding in _PLAIN:
        return _slices(content, body)
    if body.encoding == "base64":
        return _from_base64(content, body)
    if body.encoding == "quoted-printable":
        return _from_quoted_printable(content, body)
    raise Undecodable("the transfer encoding is unknown")


def decoded(content: bytes, body: Body) -> bytes:
    return b"".join(decoded_pieces(content, body))


def _slices(content: bytes, body: Body) -> Iterator[bytes]:
    for at in range(body.start, body.end, PIECE_BYTES):
        yield content[at : min(at + PIECE_BYTES, body.end)]


def _from_base64(content: bytes, body: Body) -> Iterator[bytes]:
    """Pass over what is not of the alphabet (§6.8); but nothing may come after the padding, since
    readers do not agree on what that means.
    """
    left = b""
    is_over = False
    for piece in _slices(content, body):
        letters = left + piece.translate(None, _NOT_BASE64)
        if is_over and letters:
            raise Undecodable("base64 goes on after its end")
        whole = len(letters) - len(letters) % 4
        left, letters = letters[whole:], letters[:whole]
        padding_at = letters.find(b"=")
        is_over = padding_at >= 0
        if is_over and (padding_at < whole - 2 or left):
            raise Undecodable("base64 goes on after its end")
        try:
            yield binascii.a2b_base64(letters)
        except binascii.Error:
            raise Undecodable("base64 is broken") from None
    if left:
        raise Undecodable("base64 is cut")


def _from_quoted_printable(content: bytes, body: Body) -> Iterator[bytes]:
    """Whole lines at a time, so that no escape is cut in two."""
    at = body.start
    while at < body.end:
        line_end = content.find(b"\n", min(at + PIECE_BYTES, body.end), body.end)
        end = body.end if line_end < 0 else line_end + 1
        yield binascii.a2b_qp(content[at:end])
        at = end
