"""Secrets: sealed at rest, compared in constant time, hashed when people chose them.

A sealed value is `pbx1:<key id>:<base64 of nonce, ciphertext, tag>`: AES-256-GCM (NIST SP 800-38D)
with a random 96-bit nonce and the value's place ("table/row/column") as associated data, so that a
value copied to another row does not open there. What does not open raises SecretDamaged; nothing is
ever passed through as it stands.

Secrets that we make have 256 random bits, so SHA-256 is enough to store them. Passwords that people
choose get Argon2id (RFC 9106) with the OWASP parameters; that takes about 25 ms and belongs in a
thread.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import ConfigError, SecretDamaged

_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_SEALED = "pbx1:"
_LEGACY = "ENC:"
_CHECK_TEXT = "pillarbox"
_CHECK_PLACE = "instance/key/check"
_URL_SAFE = str.maketrans("-_", "+/")

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# Of a random password nobody kept: verified for unknown users, so that they take as long as known
# ones.
DECOY_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$yotm4N9qFfid+JoMmf8OTg$sKlG2K"
    "mx7wH0DhhIUZ5x702Xfd1Vo7PkvZJHP//tSps"
)


class Keyring:
    """The keys of an instance: the first seals, all open."""

    __slots__ = ("_ciphers", "_keys", "_sealing_id")

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ConfigError(f"an encryption key must be {_KEY_BYTES} bytes")
        self._keys = tuple(keys)
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing_id = _key_id(keys[0])

    @classmethod
    def from_text(cls, text: str) -> "Keyring":
        """Read base64 of 32 bytes, or several separated by commas or spaces, the newest first.

        Raises ConfigError, which does not repeat the text.
        """
        return cls([_key(part) for part in text.replace(",", " ").split()])

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._ciphers)})"

    def seal(self, plaintext: str, *, where: str) -> str:
        """Seal a secret for its place, "table/row/column"."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._sealing_id]
        sealed = nonce + cipher.encrypt(nonce, plaintext.encode(), where.encode())
        return f"{_SEALED}{self._sealing_id}:{base64.b64encode(sealed).decode()}"

    def open(self, value: str, *, where: str) -> str:
        """Return the secret that was sealed for this place; raises SecretDamaged."""
        key_id, colon, encoded = value.removeprefix(_SEALED).partition(":")
        if not value.startswith(_SEALED) or not colon:
            raise SecretDamaged(f"{where}: the stored value is not sealed")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            known = ", ".join(self._ciphers)
            raise SecretDamaged(f"{where}: sealed with another key than ours (ours: {known})")
        try:
            return _decrypt(cipher, encoded, where.encode())
        except (InvalidTag, ValueError):
            raise SecretDamaged(
                f"{where}: the stored value is damaged or of another place"
            ) from None

    def sign(self, data: bytes, *, purpose: str) -> bytes:
        """Return the HMAC-SHA-256 of data for a purpose; of another purpose it is another."""
        return _mac(self._keys[0], data, purpose)

    def is_signed(self, data: bytes, signature: bytes, *, purpose: str) -> bool:
        """Whether a signature by `sign`, maybe with an older key, begins like this."""
        macs = (_mac(key, data, purpose)[: len(signature)] for key in self._keys)
        return bool(signature) and any(hmac.compare_digest(mac, signature) for mac in macs)

    def is_newest(self, value: str) -> bool:
        """Whether a sealed value is sealed with the key that seals now."""
        return value.startswith(f"{_SEALED}{self._sealing_id}:")

    def take_up(self, other: "Keyring") -> None:
        """Become another keyring, for all who have this one. What is sealed with keys that the
        other does not have opens no more.
        """
        self._keys, self._ciphers = other._keys, other._ciphers
        self._sealing_id = other._sealing_id

    def open_legacy(self, value: str) -> str:
        """Return the secret in `ENC:` + base64, which has neither key id nor place; for import."""
        if not value.startswith(_LEGACY):
            raise SecretDamaged("the value to import is not sealed")
        for cipher in self._ciphers.values():
            try:
                return _decrypt(cipher, value.removeprefix(_LEGACY), None)
            except InvalidTag:
                continue
            except ValueError:
                break
        raise SecretDamaged("the value to import is damaged or sealed with another key")

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key for one purpose from each of ours, the sealing one's first: what it signs
        tells nothing of ours (HKDF-Expand, RFC 5869 §2.3; a random key needs no extract).
        """
        info = f"pillarbox {purpose}".encode() + b"\x01"
        return tuple(hmac.digest(key, info, "sha256") for key in self._keys)

    def key_check(self) -> str:
        """Return a value for the database by which a wrong key is seen at start."""
        return self.seal(_CHECK_TEXT, where=_CHECK_PLACE)

    def matches(self, check: str) -> bool:
        """Whether one of our keys is the one that `key_check` was made with."""
        try:
            return self.open(check, where=_CHECK_PLACE) == _CHECK_TEXT
        except SecretDamaged:
            return False


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except ValueError:
        raise ConfigError(f"must be base64 of {_KEY_BYTES} bytes (44 characters)") from None


def _mac(key: bytes, data: bytes, purpose: str) -> bytes:
    """Sign with a key of the purpose's own, so that the sealing key itself signs nothing."""
    own = hmac.digest(key, b"pillarbox mac\0" + purpose.encode(), "sha256")
    return hmac.digest(own, data, "sha256")


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"pillarbox key id\0" + key).hexdigest()[:8]


def _decrypt(cipher: AESGCM, encoded: str, place: bytes | None) -> str:
    """Decrypt; raises InvalidTag for a wrong key, place or bit, ValueError for no ciphertext."""
    sealed = base64.b64decode(encoded, validate=True)
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise binascii.Error("too short")
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place).decode()


def new_secret() -> str:
    """Return 256 random bits as 43 URL-safe characters; not "-" first, which reads as an option."""
    while (secret := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return secret


def digest(secret: str) -> str:
    """Return the SHA-256 (hex) under which a secret that we made is stored."""
    return hashlib.sha256(_bytes(secret)).hexdigest()


def same(a: str, b: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def hash_password(text: str) -> str:
    """Return an argon2id hash; slow by design, call it in a thread."""
    return _hasher.hash(_bytes(text))


def verify_password(text: str, stored: str) -> bool:
    """Whether the password has this hash; slow by design, call it in a thread.

    Raises SecretDamaged when `stored` is no argon2 hash.
    """
    try:
        return _hasher.verify(stored, _bytes(text))
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError):
        raise SecretDamaged("a stored password hash is damaged") from None


def _bytes(text: str) -> bytes:
    """Encode whatever a client sent: a lone surrogate is a wrong password, not a crash."""
    return text.encode("utf-8", "surrogatepass")
