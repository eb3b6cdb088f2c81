"""Delivery reports with fields (RFC 3464, RFC 6522, RFC 6533).

Read leniently: the fields are looked for in a message/delivery-status part and, where a mailer lost
the part or a person forwarded the bounce, in the text. Recipients that are not divided by an empty
line, as some write them, are divided where a field comes again.
"""

from collections.abc import Sequence

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.letter import FIELD, Head, Letter
from relay.formats.bounce.mailbox import from_xtext, reported_address

TYPES = ("message/delivery-status", "message/global-delivery-status")
RECIPIENT = ("original-recipient", "final-recipient", "x-actual-recipient")
RECIPIENTS_LIMIT = 200
LINES_LIMIT = 4_000
DIAGNOSTIC_LIMIT_CHARS = 4_000


def read_report(letter: Letter) -> tuple[Finding, ...]:
    groups = groups_of(letter)
    found = [_finding(group) for group in groups if any(map(group.first, RECIPIENT))]
    return tuple(found[:RECIPIENTS_LIMIT])


def envelope_id(letter: Letter) -> str | None:
    for group in groups_of(letter):
        if value := group.first("original-envelope-id"):
            return from_xtext(value)[:1000]
    return None


def groups_of(letter: Letter) -> tuple[Head, ...]:
    """Return the groups of fields of the report: of the mail, then one per recipient."""
    lines = [line for part in letter.parts if part.type in TYPES for line in part.lines]
    return _groups(lines[:LINES_LIMIT])


def groups_in_text(lines: Sequence[str]) -> tuple[Head, ...]:
    """Find groups that name a recipient within plain text."""
    if "final-recipient" not in "\n".join(lines).lower():
        return ()
    unquoted = [line.removeprefix("> ").removeprefix(">") for line in lines]
    return tuple(group for group in _groups(unquoted) if group.first("final-recipient"))


def read_report_in_text(lines: Sequence[str]) -> tuple[Finding, ...]:
    return tuple(_finding(group) for group in groups_in_text(lines)[:RECIPIENTS_LIMIT])


def _groups(lines: list[str]) -> tuple[Head, ...]:
    groups: list[list[tuple[str, str]]] = [[]]
    for line in lines:
        if not line.strip():
            groups.append([])
        elif line[0] in " \t" and groups[-1]:
            name, value = groups[-1][-1]
            groups[-1][-1] = name, f"{value} {line.strip()}"[:DIAGNOSTIC_LIMIT_CHARS]
        elif match := FIELD.match(line):
            name = match[1].lower()
            if _begins_another(groups[-1], name):
                groups.append([])
            groups[-1].append((name, match[2].strip()))
    return tuple(Head(tuple(group)) for group in groups if group)


def _begins_another(group: list[tuple[str, str]], name: str) -> bool:
    names = [field for field, _ in group]
    if not names or name not in names:
        return False
    return name == "final-recipient" or name == names[0]


def _finding(group: Head) -> Finding:
    mechanism, _, text = group.first("diagnostic-code").partition(";")
    if not text:
        mechanism, text = "", mechanism
    return Finding(
        address=_address(group),
        action=group.first("action").split(" ")[0].strip("();").lower() or None,
        status=group.first("status") or None,
        diagnostic=text.strip(),
        mechanism=mechanism.strip().lower(),
        category=group.first("x-powermta-bouncecategory").lower(),
        remote_mta=group.first("remote-mta").partition(";")[2].strip()[:255] or None,
    )


def _address(group: Head) -> str | None:
    """Return the address that was written to: the original one where it is told."""
    for name in RECIPIENT:
        if address := reported_address(group.first(name)):
            return address
    return None
