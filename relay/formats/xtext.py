"""What DSN parameters are written in: xtext (RFC 3461 §4) and, for `utf-8` addresses, embedded
Unicode (RFC 6533 §3).

Lenient on the way in, as it shows what a stranger gave; what it returns has no control characters.
Pure.
"""

import re

_HEX = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_LAST_POINT = 0x10FFFF


def decoded(text: str) -> str:
    """Return what xtext stands for; as it is where that would not be printable ASCII."""
    plain = _HEX.sub(lambda found: chr(int(found[1], 16)), text)
    return plain if plain.isascii() and plain.isprintable() else text


def typed_address(orcpt: str) -> tuple[str, str]:
    """Split an ORCPT value into the address type, as given, and the address that was meant."""
    kind, _, encoded = orcpt.partition(";")
    if kind.lower() != "utf-8":
        return kind, decoded(encoded)
    plain = _EMBEDDED.sub(_character, _HEX.sub(lambda found: chr(int(found[1], 16)), encoded))
    return kind, plain if plain.isprintable() else encoded


def in_ascii(orcpt: str) -> str:
    """Return an ORCPT value for a command in ASCII: embedded Unicode for what is not."""
    if orcpt.isascii():
        return orcpt
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in orcpt)


def _character(found: re.Match[str]) -> str:
    point = int(found[1], 16)
    is_surrogate = 0xD800 <= point <= 0xDFFF
    return found[0] if point > _LAST_POINT or is_surrogate else chr(point)
