"""Addresses in running text and in fields of reports."""

import re

ADDRESS = re.compile(r"[^\s<>()\"',;:\[\]@\\]{1,128}@[^\s<>()\"',;:\[\]@\\/]{1,255}")
UNICODE_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
UNICODE_LIMIT = 0x110000
XTEXT = re.compile(r"\+([0-9A-F]{2})")


def address_in(text: str) -> str | None:
    """Return the first address in `text`, without what surrounds it."""
    match = ADDRESS.search(text)
    return _trimmed(match[0]) if match else None


def addresses_in(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_trimmed(found) for found in ADDRESS.findall(text)))


def reported_address(value: str) -> str | None:
    """Read `rfc822; a@b.test` or `utf-8; …` (RFC 3464 §2.3.1, RFC 6533 §3), None where none is."""
    kind, _, rest = value.partition(";")
    if not rest:
        kind, rest = "", value
    if kind.strip().lower() == "utf-8":
        rest = UNICODE_ESCAPE.sub(_character, rest)
    return address_in(rest)


def from_xtext(text: str) -> str:
    """Decode the xtext of RFC 3461 §4."""
    return XTEXT.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    if point >= UNICODE_LIMIT or not chr(point).isprintable():
        return match[0]
    return chr(point)


def _trimmed(found: str) -> str:
    return found.strip(".*`?!>|=")
