"""A URL that somebody gave, made ready for the wire (RFC 3986, RFC 9110 §4.2).

Pure. Names outside ASCII become A-labels, other octets are percent-encoded. A login in a URL is
refused: it would end in logs, and says something else to people than to programs.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

# What a URL has besides letters and digits (RFC 3986 §2.2); "%" is taken as encoded already.
MARKS = "/:?&=@!$'()*+,;~-._%[]"
DEFAULT_PORTS = {b"http": 80, b"https": 443}

# A zone (RFC 6874) means something on one machine only, and nothing else belongs here.
_HOST = re.compile(r"[A-Za-z0-9._:-]+")

Origin = tuple[bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Url:
    """`host` has no brackets; `target` is path and query (RFC 9112 §3.2.1)."""

    scheme: bytes
    host: bytes
    port: int | None
    target: bytes


class UnusableUrlError(ValueError):
    """It is no URL that can be called; the text says why and does not repeat it."""


def parse(text: str) -> Url:
    """Read an absolute http or https URL. Raises UnusableUrlError."""
    try:
        parts = urlsplit(text)
        host, port = ascii_host(parts.hostname or ""), parts.port
    except (ValueError, UnicodeError):
        raise UnusableUrlError("is no URL") from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise UnusableUrlError("is no URL with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise UnusableUrlError("has a login in it")
    query = f"?{quote(parts.query, safe=MARKS)}" if parts.query else ""
    return Url(
        scheme=parts.scheme.encode(),
        host=host.encode("ascii"),
        port=port,
        target=(quote(parts.path or "/", safe=MARKS) + query).encode("ascii"),
    )


def beneath(base: str, path: str) -> Url:
    """Read the URL of a path on a client's server; it never leaves that server."""
    return parse(f"{base.rstrip('/')}/{path.lstrip('/')}")


def port_of(url: Url) -> int:
    return DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def origin(url: Url) -> Origin:
    """Return what two URLs of one server share (RFC 6454 §4)."""
    return url.scheme, url.host.lower(), port_of(url)


def authority(url: Url) -> bytes:
    """Return the value of Host (RFC 9110 §7.2)."""
    host = b"[%b]" % url.host if b":" in url.host else url.host
    return host if url.port is None else b"%b:%d" % (host, url.port)


def ascii_host(host: str) -> str:
    return host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
