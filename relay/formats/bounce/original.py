"""What the returned mail tells of itself: the clues to find the mail that was sent."""

import re

from relay.formats.bounce.letter import FIELD, Head, Letter, read_head
from relay.formats.bounce.mailbox import addresses_in
from relay.formats.bounce.model import Clues
from relay.formats.bounce.notice import ABOVE_ORIGINAL, begins_original

TYPES = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/global",
    "message/partial",
    "message/global-headers",
    "message/rfc822-headers",
)
ID_LIMIT_CHARS = 1_000
IDS_LIMIT = 50
MESSAGE_ID = re.compile(r"<[^<>\s]{1,998}>")
BEGINS = re.compile(
    r"(?:received|return-path|message-id|dkim-signature|x-pillarbox-id|x-genro-mail-id):", re.I
)
BEGINS_A_LINE = re.compile(rf"^[> \t]{{0,100}}{BEGINS.pattern}", re.IGNORECASE | re.MULTILINE)
DELIVERED = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")


def original_heads(letter: Letter) -> tuple[Head, ...]:
    """Return the heads of what was returned, be it a part or lines in the text."""
    attached = tuple(read_head(_begun(part.lines)) for part in letter.parts if part.type in TYPES)
    if attached:
        return attached
    return tuple(
        read_head(_unindented(part.lines[at:]))
        for part in letter.parts
        if part.type == "text/plain" and (at := _begin_of(part.lines)) is not None
    )


def clues_of(letter: Letter, heads: tuple[Head, ...], envelope_id: str | None) -> Clues:
    head = letter.head
    delivered = [value for name in DELIVERED for value in head.all(name)]
    replied = " ".join([*head.all("in-reply-to"), *head.all("references")])
    returned = " ".join(value for each in heads for value in each.all("message-id"))
    own_id = " ".join(head.all("x-original-message-id"))
    return Clues(
        delivered_to=addresses_in(" ".join(delivered))[:IDS_LIMIT],
        pillarbox_ids=_values(heads, "x-pillarbox-id"),
        genro_ids=_values(heads, "x-genro-mail-id"),
        message_ids=_ids(f"{returned} {own_id} {replied}"),
        envelope_id=envelope_id,
    )


def _begun(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Skip the empty lines and mbox separator that may stand before the first field."""
    for at, line in enumerate(lines[:10]):
        if line.strip() and not line.startswith(("From ", ">From ")):
            return _unindented(lines[at:])
    return lines


def _unindented(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Take away the indent or quote sign that all lines of a quoted head have."""
    first = lines[0] if lines else ""
    quote = first[: len(first) - len(first.lstrip("> \t"))]
    return tuple(line.removeprefix(quote) for line in lines[:1_000]) if quote else lines


def _begin_of(lines: tuple[str, ...]) -> int | None:
    text = "\n".join(lines)
    if not (BEGINS_A_LINE.search(text) or ABOVE_ORIGINAL.search(text)):
        return None  # ordinary mail, which is most, ends here
    is_below_marker = False
    for at, line in enumerate(lines):
        start = line.lstrip("> \t")[:100]
        if BEGINS.match(start) or (is_below_marker and FIELD.match(start)):
            return at
        is_below_marker = is_below_marker or begins_original(start)
    return None


def _values(heads: tuple[Head, ...], name: str) -> tuple[str, ...]:
    values = [value[:ID_LIMIT_CHARS] for head in heads for value in head.all(name) if value]
    return tuple(dict.fromkeys(values))[:IDS_LIMIT]


def _ids(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(MESSAGE_ID.findall(text)))[:IDS_LIMIT]
