"""Links to files that left a mail, as lines for people to read, and put into text and HTML.

All works on octets in the text's own charset: what was there is not decoded, so it cannot change.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_HEADING = "Large files, to be downloaded:"
_UNITS = ("bytes", "KB", "MB", "GB", "TB")
# Where HTML may end (HTML 4.01 §7.1, HTML 5.2 §12.1.2.4: the end tags are optional).
_HTML_ENDS = (b"</body", b"</html")


@dataclass(frozen=True, slots=True)
class FileLink:
    name: str
    size_bytes: int
    url: str


def size_text(size_bytes: int) -> str:
    """Return a size for people: at most three digits and a unit, powers of 1,000 as files have."""
    size, unit = float(size_bytes), _UNITS[0]
    for unit in _UNITS:
        # 999.95 would be rounded to 1000.0
        if size < 999.95 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def text_note(links: Sequence[FileLink]) -> str:
    """Return the lines for a text. No line ends with a space, so they stand alone in
    format=flowed too (RFC 3676).
    """
    lines = [f"{link.name} ({size_text(link.size_bytes)}):\r\n{link.url}\r\n" for link in links]
    return f"{_HEADING}\r\n\r\n" + "\r\n".join(lines)


def html_note(links: Sequence[FileLink]) -> str:
    items = [
        f'<li><a href="{escape(link.url)}">{escape(link.name)}</a>'
        f" ({size_text(link.size_bytes)})</li>\r\n"
        for link in links
    ]
    return f"\r\n<hr>\r\n<p>{_HEADING}</p>\r\n<ul>\r\n{''.join(items)}</ul>\r\n"


def can_hold_note(charset: str) -> bool:
    """Whether ASCII can be written among text of this charset as it stands."""
    try:
        return "</body> 09\r\n".encode(charset) == b"</body> 09\r\n"
    except (LookupError, ValueError):
        return False


def with_text_note(text: bytes, charset: str, links: Sequence[FileLink]) -> bytes:
    """Return the text with the links below. A name that its charset lacks is written without
    accents, what is left of it as question marks; the link is always whole.
    """
    note = text_note(links)
    try:
        added = note.encode(charset)
    except UnicodeEncodeError:
        plain = "".join(
            c for c in unicodedata.normalize("NFKD", note) if not unicodedata.combining(c)
        )
        added = plain.encode(charset, "replace")
    if not text.strip():
        return added
    return b"".join((text, b"" if text.endswith(b"\r\n") else b"\r\n", b"\r\n", added))


def with_html_note(html: bytes, links: Sequence[FileLink]) -> bytes:
    """Return the page with the links at its end, in ASCII, which fits every charset here."""
    added = html_note(links).encode("ascii", "xmlcharrefreplace")
    lowered = html.lower()
    at = next((at for end in _HTML_ENDS if (at := lowered.rfind(end)) >= 0), len(html))
    return b"".join((html[:at], added, html[at:]))
