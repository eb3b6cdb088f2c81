"""The certificates of the SMTP servers, read again when their files change.

Promises: TLS 1.2 or newer, but where an endpoint asks for the old ones; a client that names a host
(SNI, RFC 6066 §3) gets the certificate for it, every other the first; a new certificate counts from
the next handshake on, without a restart; files that do not fit together (one of two is written
already) leave the old ones in service.
"""

import ssl
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from relay.errors import ConfigError
from relay.ingress.smtp.settings import Endpoint

Choose = Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """A chain and its key (PEM); both may be in one file."""

    cert: Path
    key: Path

    def __str__(self) -> str:
        return f"{self.cert}, {self.key}"


class Certificates:
    def __init__(self, pairs: Sequence[Pair]) -> None:
        """Read the files, at least one pair. Raises ConfigError when they cannot be used."""
        self._pairs = pairs
        self._seen = self._stamps()
        self._names = self._read_names()
        self._modern = self._contexts(modern_context)
        self._old = self._contexts(old_context)

    def context(self, endpoint: Endpoint) -> ssl.SSLContext:
        return self._old[0] if endpoint.old_tls else self._modern[0]

    def reload(self) -> bool:
        """Read the files again if they changed; tell whether they did. Raises ConfigError."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        # Tried on contexts of their own first: a failure half-way would leave ours without a key.
        for pair in self._pairs:
            load(modern_context(), pair)
        self._names = self._read_names()
        for contexts in (self._modern, self._old):
            for context, pair in zip(contexts, self._pairs, strict=True):
                load(context, pair)
        self._seen = stamps
        return True

    def _contexts(self, make: Callable[[], ssl.SSLContext]) -> list[ssl.SSLContext]:
        contexts = [make() for _ in self._pairs]
        for context, pair in zip(contexts, self._pairs, strict=True):
            load(context, pair)
        if len(contexts) > 1:
            contexts[0].sni_callback = self._chooser(contexts)
        return contexts

    def _chooser(self, contexts: Sequence[ssl.SSLContext]) -> Choose:
        def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
            connection.context = contexts[self._place_of(name or "")]

        return choose

    def _place_of(self, name: str) -> int:
        """Return which certificate is for a name; a wildcard is for one label (RFC 6125 §6.4.3)."""
        name = name.lower()
        parent = f"*.{name.partition('.')[2]}"
        return self._names.get(name, self._names.get(parent, 0))

    def _read_names(self) -> dict[str, int]:
        names: dict[str, int] = {}
        for place, pair in enumerate(self._pairs):
            for name in names_in(pair.cert):
                names.setdefault(name, place)
        return names

    def _stamps(self) -> tuple[int, ...]:
        paths = [path for pair in self._pairs for path in (pair.cert, pair.key)]
        try:
            return tuple(path.stat().st_mtime_ns for path in paths)
        except OSError as error:
            raise ConfigError(f"certificate: {error}") from error


def modern_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def old_context() -> ssl.SSLContext:
    """Speak to devices that nobody updates any more: TLS 1.0, SHA-1, short keys."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def load(context: ssl.SSLContext, pair: Pair) -> None:
    try:
        context.load_cert_chain(pair.cert, pair.key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{pair}: {error}") from error


def names_in(cert: Path) -> list[str]:
    """Return the host names of the first certificate in a file, in lower case."""
    try:
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{cert}: {error}") from error
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
