"""What the header of a part says of it: its type and the parameters (RFC 2045, 2183, 2231)."""

import re
from urllib.parse import unquote, unquote_to_bytes

from relay.formats.characters import without_forbidden
from relay.formats.headers.head import Head
from relay.formats.headers.words import decode_words

NAME_MAX_CHARS = 200
_VALUE_MAX_CHARS = 8192
_KIND = re.compile(r"\s*([^\s;/]+/[^\s;]+)")
_PARAMETER = re.compile(r';\s*([^\s=;]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.){0,2000})"|([^\s;"]*))')
_QUOTED_PAIR = re.compile(r"\\(.)")
_CONTINUED = re.compile(r"\*(\d{1,2})(\*?)")
# They turn the direction of text, by which exe.fdp passes for a pdf (Unicode TR 36 §2.10).
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TEXT = "text/plain"


def kind_of(head: Head, default: str) -> str:
    """Return the type in lower case; `default` is that of a part without one (RFC 2046 §5.1.5)."""
    given = head.first("Content-Type")
    if given is None:
        return default
    found = _KIND.match(given)
    return found[1].lower() if found else _TEXT


def parameter(head: Head, field: str, name: str) -> str | None:
    """Return a parameter of a field, put together and decoded (RFC 2231 §3, §4)."""
    value = head.first(field)
    if value is None or name not in value.lower():
        return None
    pieces: dict[int, tuple[str, bool]] = {}
    for found in _PARAMETER.finditer(value[:_VALUE_MAX_CHARS]):
        key = found[1].lower()
        text = found[3] if found[2] is None else _QUOTED_PAIR.sub(r"\1", found[2])
        if key == name:
            pieces.setdefault(-1, (text, False))
        elif key == f"{name}*":
            return _extended(text, text)
        elif key.startswith(name) and (place := _CONTINUED.fullmatch(key, len(name))):
            pieces[int(place[1])] = (text, bool(place[2]))
    return _joined(pieces)


def _joined(pieces: dict[int, tuple[str, bool]]) -> str | None:
    """Put the pieces in order; a piece is encoded where it says so."""
    whole = pieces.pop(-1, None)
    if not pieces:
        return whole and whole[0]
    ordered = [pieces[place] for place in sorted(pieces)]
    texts = [text if is_coded else text.replace("%", "%25") for text, is_coded in ordered]
    joined = "".join(texts)
    first, is_coded = ordered[0]
    return _extended(joined, first) if is_coded else unquote(joined)


def _extended(text: str, first: str) -> str:
    """Decode charset'language'percent-encoded."""
    if first.count("'") < 2:
        return text
    charset, _, rest = text.split("'", 2)
    data = unquote_to_bytes(rest)
    try:
        return data.decode(charset or "ascii", "replace")
    except (LookupError, ValueError):
        return data.decode("latin-1")


def file_name(head: Head, kind: str) -> str:
    """Return the name of a file for people: the last part of its path, printable, never empty."""
    given = parameter(head, "Content-Disposition", "filename") or parameter(
        head, "Content-Type", "name"
    )
    # Many clients use RFC 2047 where RFC 2231 is due.
    text = _TURNS.sub("", without_forbidden(decode_words(given or "")))
    name = " ".join(text.replace("\\", "/").rpartition("/")[2].split())
    name = name[:NAME_MAX_CHARS].strip(" .")
    return name or ("message.eml" if kind.startswith("message/") else "attachment")


def is_attachment(head: Head) -> bool:
    given = head.first("Content-Disposition") or ""
    return given.partition(";")[0].strip().lower() == "attachment"


def charset_of(head: Head) -> str:
    return parameter(head, "Content-Type", "charset") or "us-ascii"


def encoding_of(head: Head) -> str:
    return (head.first("Content-Transfer-Encoding") or "7bit").strip().lower()
