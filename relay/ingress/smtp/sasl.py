"""The messages of AUTH PLAIN (RFC 4616) and AUTH LOGIN, taken out of their Base64 (RFC 4954 §4)."""

import base64
import binascii

from relay.errors import Refused

ASK_USERNAME = (
    "VXNlcm5hbWU6"  # "Username:", as the clients of AUTH LOGIN look for it, to the letter
)
ASK_PASSWORD = "UGFzc3dvcmQ6"  # "Password:"  # noqa: S105 - a prompt


def decoded(text: bytes) -> bytes:
    """Return what a client said. `=` says nothing; `*` gives up. Raises Refused (501)."""
    text = text.strip()
    if text == b"*":
        raise Refused("Authentication cancelled", code=501, enhanced="5.7.0")
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("That is not valid Base64", code=501, enhanced="5.5.2") from None


def too_long() -> Refused:
    return Refused("That is longer than any answer can be", code=500, enhanced="5.5.6")


def plain(message: bytes) -> tuple[str, str] | None:
    """Return user name and password; None when it asks to act as somebody else. Raises Refused."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise Refused("Three parts with NUL between them expected", code=501, enhanced="5.5.2")
    authorization, username, password = map(text, parts)
    return None if authorization not in ("", username) else (username, password)


def text(octets: bytes) -> str:
    """Decode; what is not UTF-8 matches no user and no password, but is no error of syntax."""
    return octets.decode("utf-8", "surrogateescape")
