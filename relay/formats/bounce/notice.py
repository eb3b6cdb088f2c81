"""The part of a bounce that is written for people: its lines up to where the returned mail
begins.
"""

import html
import re
from dataclasses import replace

from relay.formats.bounce.letter import Letter, Part

LINES_LIMIT = 600
LINE_LIMIT_CHARS = 1_000

RULE = "-=*_|> \t"
MARKER_LIMIT_CHARS = 90
MARKERS = (
    "a copy of the original",
    "a copy of your",
    "below is a copy",
    "below is the original",
    "below this line is",
    "body of the original message",
    "bounced message",
    "copy of the original",
    "copy of your message",
    "enclosed is a copy",
    "forwarded message",
    "header of the original",
    "headers of the original",
    "here is a copy",
    "message header",
    "message text follows",
    "original mail",
    "original message",
    "original text",
    "returned mail",
    "returned message",
    "returned text",
    "text of the original",
    "the body of the",
    "the following is a copy",
    "the following is the",
    "the header of the",
    "the headers of the",
    "the original message",
    "the returned message",
    "this is a copy of",
    "undelivered mail",
    "undelivered message",
    "unsent message",
    "your original message",
)
"How the line begins that stands above the returned mail, its rule of dashes taken away."
FOLLOWING = ("was received", "could not", "cannot", "has been", "was not", "was sent")
"What makes of such a line a sentence about the mail."
FIELDS = ("received:", "return-path:", "dkim-signature:", "content-type: message/")

TAG = re.compile(r"<(?![^<>\s]{1,128}@)[^<>]{0,2000}>")
BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?h\d|/?li)\b[^<>]{0,500}>", re.IGNORECASE)
NOT_SHOWN = re.compile(r"<(?:style|script|title)\b[^<>]{0,500}>[^<]{0,20000}", re.IGNORECASE)


ABOVE_ORIGINAL = re.compile(
    rf"^[-=*_|> \t]{{0,90}}(?=[{''.join({marker[0] for marker in MARKERS})}])"
    rf"(?:{'|'.join(map(re.escape, MARKERS))})",
    re.IGNORECASE | re.MULTILINE,
)
"The same looked for in a whole text; the first letters spare most lines the long list."


def notice_of(letter: Letter) -> tuple[str, ...]:
    """Return the lines, stripped; those of the page where there is no plain text."""
    plain = [part for part in letter.parts if part.type == "text/plain"]
    lines = _until_original(plain)
    if not any(lines):
        pages = [_without_tags(part) for part in letter.parts if part.type == "text/html"]
        lines = _until_original(pages)
    return tuple(lines)


def begins_original(line: str) -> bool:
    """Whether `line`, stripped, stands above the returned mail or is its first."""
    lowered = line.lower()
    if lowered.startswith(FIELDS):
        return True
    if len(line) > MARKER_LIMIT_CHARS or "@" in line:
        return False
    told = lowered.strip(RULE)
    return told.startswith(MARKERS) and not any(words in told for words in FOLLOWING)


def _until_original(parts: list[Part]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        for raw in part.lines:
            line = _unquoted(raw[:LINE_LIMIT_CHARS])
            if any(lines) and begins_original(line):
                return lines
            lines.append(line)
            if len(lines) >= LINES_LIMIT:
                return lines
    return lines


def _unquoted(line: str) -> str:
    stripped = line.strip()
    if stripped.startswith(">") and not stripped.startswith(">>>"):
        return stripped[1:].strip()
    return stripped


def _without_tags(page: Part) -> Part:
    text = BREAK.sub("\n", NOT_SHOWN.sub(" ", " ".join(page.lines)))
    text = html.unescape(TAG.sub(" ", text))
    return replace(page, lines=tuple(" ".join(line.split()) for line in text.split("\n")))
