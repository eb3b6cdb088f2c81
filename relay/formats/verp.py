"""Signed return addresses: a bounce comes back to an address that says which mail it is of.

`local+<token>@domain`. The token names the message, and the recipient where one was offered alone,
under a truncated HMAC-SHA256 (RFC 2104 §5), so nobody can make one but we. It is base32 (RFC 4648
§6) in lower case, since some servers change the case of a local part. The local part has at most 64
octets (RFC 5321 §4.5.3.1.1).

Pure: the caller brings the keys.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from relay.errors import Refused
from relay.formats.address import LOCAL_MAX_OCTETS, mailbox

DEFAULT_LOCAL = "bounce"
PURPOSE = "verp"

_MAC_BYTES = 8
_PK_BYTES = 16
_N_BYTES = 2
_TOKEN_BYTES = _PK_BYTES + _N_BYTES + _MAC_BYTES
_TOKEN_CHARS = -(-_TOKEN_BYTES * 8 // 5)
_PADDING = "=" * (-_TOKEN_CHARS % 8)
LOCAL_MAX_CHARS = LOCAL_MAX_OCTETS - _TOKEN_CHARS - 1
_MOST_TOKENS = 100
_MOST_NAMED = 2 ** (8 * _N_BYTES) - 1
_TOKEN = re.compile(rf"\+([a-z2-7]{{{_TOKEN_CHARS}}})@", re.IGNORECASE)
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9._+=-]+")


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """Where bounces of a tenant or of the instance come to."""

    local: str
    domain: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A message, and the place of the recipient that it was offered for alone."""

    pk: str
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Forged:
    """A token that we did not make."""


def return_path(text: str) -> ReturnPath:
    """Read a domain, or a mailbox whose local part the addresses begin with. Raises Refused."""
    local, _, domain = text.rpartition("@")
    address = mailbox(f"{local or DEFAULT_LOCAL}@{domain}", smtputf8=False)
    local, _, domain = address.rpartition("@")
    if len(local) > LOCAL_MAX_CHARS or not _PLAIN_LOCAL.fullmatch(local):
        raise Refused(
            f"the local part must be plain and have at most {LOCAL_MAX_CHARS} characters: a token"
            " of ours follows it"
        )
    return ReturnPath(local, domain)


def signed(path: ReturnPath, reference: Reference, key: bytes) -> str:
    """Return the address that a bounce of this mail comes back to."""
    named = 0 if reference.n is None or reference.n >= _MOST_NAMED else reference.n + 1
    body = bytes.fromhex(reference.pk.replace("-", "")) + named.to_bytes(_N_BYTES, "big")
    token = base64.b32encode(body + _mac(body, key)).decode("ascii").rstrip("=").lower()
    return f"{path.local}+{token}@{path.domain}"


def read(addresses: Iterable[str], keys: Sequence[bytes]) -> Reference | Forged | None:
    """Return what the first token among these addresses that we made refers to; None where there
    is no token at all.
    """
    found = (match[1] for address in addresses for match in _TOKEN.finditer(address))
    tokens = list(islice(found, _MOST_TOKENS))
    references = (_opened(token, keys) for token in tokens)
    known = next((reference for reference in references if reference is not None), None)
    return known or (Forged() if tokens else None)


def _opened(token: str, keys: Sequence[bytes]) -> Reference | None:
    raw = base64.b32decode(token.upper() + _PADDING)
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(body, key)) for key in keys):
        return None
    pk, named = body[:_PK_BYTES].hex(), int.from_bytes(body[_PK_BYTES:], "big")
    text = f"{pk[:8]}-{pk[8:12]}-{pk[12:16]}-{pk[16:20]}-{pk[20:]}"
    return Reference(text, named - 1 if named else None)


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC_BYTES]
