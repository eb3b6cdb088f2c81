"""The certificate of the SMTP servers, read again when its files change.

Promises: TLS 1.2 or newer; a new certificate counts from the next handshake on, without a restart;
files that do not fit together (one of two is written already) leave the old one in service.
"""

import ssl
from pathlib import Path

from relay.errors import ConfigError


class Certificate:
    def __init__(self, cert: Path, key: Path) -> None:
        """Read the files. Raises ConfigError when they cannot be used."""
        self._cert = cert
        self._key = key
        self._seen = self._stamps()
        self.context = self._loaded()

    def reload(self) -> bool:
        """Read the files again if they changed; tell whether they did. Raises ConfigError."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        # Tried on a context of its own first: a failure half-way would leave ours without a key.
        self._loaded()
        self.context.load_cert_chain(self._cert, self._key)
        self._seen = stamps
        return True

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._cert}, {self._key}: {error}") from error
        return context

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self._cert, self._key))
        except OSError as error:
            raise ConfigError(f"{self._cert}, {self._key}: {error}") from error
