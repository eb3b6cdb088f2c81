"""The links that we answer ourselves: the id of a file and a signature that only this instance can
make.

When a link ends is known by its file: once that has gone, a link with a true signature is one that
has ended, and any other never was one. 128 bits of HMAC-SHA-256 (RFC 2104 §5: at least half).
"""

import base64
import re
from hashlib import blake2b

from relay.crypto import Keyring

PATH = "/download"
_ID_BYTES = 12
_SIGNATURE_BYTES = 16
_PURPOSE = "download"
_TICKET = re.compile(r"([A-Za-z0-9_-]{16})([A-Za-z0-9_-]{22})")


def file_id(message_pk: str, name: str, sha256: str) -> str:
    """Name a file of a mail: the same one gets the same name when it is stored again."""
    seed = "\0".join((message_pk, name, sha256)).encode("utf-8", "replace")
    return _text(blake2b(seed, digest_size=_ID_BYTES).digest())


class Tickets:
    """Short enough, and without "=", to stay whole in a line of quoted-printable text."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def issue(self, file_id: str) -> str:
        signature = self._keyring.sign(file_id.encode(), purpose=_PURPOSE)[:_SIGNATURE_BYTES]
        return file_id + _text(signature)

    def url(self, base_url: str, file_id: str) -> str:
        return f"{base_url}{PATH}/{self.issue(file_id)}"

    def verify(self, ticket: str) -> str | None:
        """Return the id of the file that a ticket of ours is for, None for any other."""
        found = _TICKET.fullmatch(ticket)
        if found is None:
            return None
        signature = base64.urlsafe_b64decode(found[2] + "==")
        is_ours = self._keyring.is_signed(found[1].encode(), signature, purpose=_PURPOSE)
        return found[1] if is_ours else None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
