"""What a client says of a file that goes with its mail: how it is got, what it is called, what is
in it. Pure.
"""

import binascii
import mimetypes
import re

from relay.errors import Refused
from relay.model import FetchMode

BASE64_MARK = "base64:"
UNKNOWN_TYPE = "application/octet-stream"

_URL = re.compile(r"https?://", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}")
# With the one mark before it, where nothing but the extension follows: `report_{MD5:…}.pdf`.
_MARKER = re.compile(r"[ _-]?\{MD5:([^{}]*)\}(?=\.|$)|\{MD5:([^{}]*)\}", re.IGNORECASE)
# Not the tables of the machine: the same mail is the same everywhere.
_TYPES = mimetypes.MimeTypes()


def fetch_mode(storage_path: str) -> FetchMode:
    """Tell how a file is got from how its place is written."""
    if storage_path.startswith(BASE64_MARK):
        return FetchMode.BASE64
    if _URL.match(storage_path):
        return FetchMode.HTTP_URL
    if storage_path.startswith("/"):
        return FetchMode.FILESYSTEM
    return FetchMode.ENDPOINT


def without_marker(filename: str) -> tuple[str, str | None]:
    """Take `{MD5:…}` out of a file name; return the name, and the MD5 (hex, lower case)."""
    found = _MARKER.search(filename)
    if found is None:
        return filename, None
    said = (found[1] or found[2] or "").lower()
    name = _MARKER.sub("", filename)
    return name or "attachment", said if is_md5(said) else None


def is_md5(text: str) -> bool:
    return _MD5.fullmatch(text) is not None


def mime_type_of(filename: str) -> str:
    """Guess the type of a file from its name."""
    guessed, encoding = _TYPES.guess_type(f"/{filename.rpartition('/')[2]}")
    return UNKNOWN_TYPE if guessed is None or encoding else guessed


def decoded_size(encoded: str) -> int:
    """Return how many bytes base64 text stands for, without decoding it."""
    padding = 2 if encoded.endswith("==") else int(encoded.endswith("="))
    return len(encoded) // 4 * 3 - padding


def decode_base64(encoded: str) -> bytes:
    """Decode base64 (RFC 4648 §4), nothing skipped or repaired. Raises Refused."""
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise Refused(f"is no base64: {error}") from None
