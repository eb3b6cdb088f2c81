"""Feedback reports (RFC 5965): somebody called the mail spam, or left the list."""

from dataclasses import dataclass

from relay.formats.bounce.letter import Head, Letter, read_head
from relay.formats.bounce.mailbox import address_in

TYPE = "message/feedback-report"
REPORTED = ("original-rcpt-to", "removal-recipient", "x-original-rcpt-to")
MARKED = ("x-hmxmroriginalrecipient",)
"What Outlook.com's Junk Mail Reporting writes above the mail, which has no part of fields."
NO_COMPLAINT = ("auth-failure", "not-spam", "dmarc", "virus")
"A machine's report on authentication (RFC 6591) or on viruses: no person complained."
RECIPIENTS_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Feedback:
    is_complaint: bool
    complainants: tuple[str, ...]


def read_feedback(letter: Letter, originals: tuple[Head, ...]) -> Feedback | None:
    """Return the report, None where the mail is none; the complainants may be hidden."""
    for part in letter.parts:
        if part.type == TYPE:
            return _reported(_fields(part.lines))
    for head in originals:
        if addresses := _addresses(head, MARKED):
            return Feedback(is_complaint=True, complainants=addresses)
    if letter.head.first("x-apple-unsubscribe"):
        return Feedback(is_complaint=True, complainants=_addresses(letter.head, ("from",)))
    return None


def _fields(lines: tuple[str, ...]) -> Head:
    return read_head(tuple(line for line in lines if line.strip()))


def _reported(fields: Head) -> Feedback:
    kind = fields.first("feedback-type").split(";")[0].strip().lower()
    return Feedback(kind not in NO_COMPLAINT, _addresses(fields, REPORTED))


def _addresses(head: Head, names: tuple[str, ...]) -> tuple[str, ...]:
    values = [value for name in names for value in head.all(name)][:RECIPIENTS_LIMIT]
    return tuple(dict.fromkeys(address for value in values if (address := address_in(value))))
