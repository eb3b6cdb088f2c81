"""Octets to text, whatever they claim to be.

A bounce is often wrong about its own charset, so what is declared is tried first, strictly, and
then what is common. Only charsets of mail are tried: some of Python's codecs are not for
strangers' octets.
"""

import binascii
import re

CHARSETS = re.compile(
    r"us-ascii|utf-?(8|16|16le|16be)|iso-?8859-\d{1,2}|windows-?125\d|cp125\d|iso-2022-(jp|kr)(-\d)?"
    r"|(x-)?euc-?(jp|kr)|(x-)?s(hift)?_?-?jis|cp932|windows-31j|gb(2312|k|18030)|big5(-hkscs)?|koi8-[ru]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
ENCODED_WORD = re.compile(r"=\?([\w-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\s]{0,300})\?=")
BETWEEN_WORDS = re.compile(r"\?=[ \t]{1,20}=\?")
JAPANESE = b"\x1b$"


def decoded(lines: list[bytes], transfer_encoding: str, charset: str) -> tuple[str, ...]:
    octets = _untransferred(lines, transfer_encoding.strip().lower())
    text = _text(octets, charset.strip().lower())
    return tuple(printable(text).replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def unencoded(value: str) -> str:
    """Read the encoded words of a field (RFC 2047)."""
    joined = BETWEEN_WORDS.sub("?==?", value)
    return ENCODED_WORD.sub(_word, joined)


def _word(match: re.Match[str]) -> str:
    charset, how, text = match[1], match[2].lower(), match[3]
    octets = text.replace("_", " ") if how == "q" else text
    encoding = "quoted-printable" if how == "q" else "base64"
    return printable(_text(_untransferred([octets.encode()], encoding), charset.lower()))


def printable(text: str) -> str:
    """Take away what a database or a terminal would stumble on: controls and lone surrogates."""
    return CONTROL.sub(" ", text)


def _untransferred(lines: list[bytes], encoding: str) -> bytes:
    octets = b"\n".join(lines)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(octets)
    if encoding == "base64":
        digits = NOT_BASE64.sub(b"", octets)
        whole = digits[: len(digits) // 4 * 4]
        rest = digits[len(whole) :]
        padded = rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""
        return binascii.a2b_base64(whole + padded)
    return octets


def _text(octets: bytes, charset: str) -> str:
    likely = [charset] if CHARSETS.fullmatch(charset) else []
    if JAPANESE in octets:
        likely.append("iso-2022-jp")
    for name in (*likely, "utf-8"):
        try:
            return octets.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    if likely:
        return _replaced(octets, likely[0])
    return octets.decode("latin-1")


def _replaced(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except LookupError:
        return octets.decode("latin-1")
