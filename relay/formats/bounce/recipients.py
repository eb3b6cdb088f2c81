"""Whom a notice is about, and what it says of each.

There are as many wordings as mailers, but few ways to set an address apart, so the forms are of
lines and not of mailers. Strong forms are tried on the whole notice before weak ones: an address
that has a line to itself is a recipient, one within a sentence may be.
"""

import re
from dataclasses import replace

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.mailbox import address_in, addresses_in

RECIPIENTS_LIMIT = 100
TEXT_LIMIT_CHARS = 4_000

ADDRESS = r"""([^\s<>()"',;:]{1,128}@[^\s<>()"',;:/]{3,255}%s)"""
WHOLE, SHORT = ADDRESS % "", ADDRESS % "?"

ALONE = re.compile(
    r"(?:\*|>>>|-|•|\d{1,3}\.|to:?|recipient:?|rcpt to:?|address:?|user:?)?\s{0,4}"
    rf"""(?:"[^"]{{0,100}}"\s?)?["'`<(]{{0,2}}{SHORT}[>"'`)]{{0,2}}[.:]{{0,3}}"""
    r"(?:\s?<[^<>\s]{3,320}>)?(?:\s?\(.{0,200}\))?(?:\s?(?:unknown|failed))?",
    re.IGNORECASE,
)
"`* a@b.test`, `>>> a@b.test <a@b.test>`, `<a@b.test> (expanded from: …)`"
QUOTED = re.compile(rf"""["'<]{{1,2}}{WHOLE}[>"']{{1,2}}(?:[:,; (-]|\s?\.\.\.|\s?[,;(-])""")
"`<a@b.test>: host … said: …`, `<a@b.test>... User unknown`"
DATED = re.compile(rf"{SHORT} on \w{{3,10}}[,.]? .{{0,60}}\d{{2}}:\d{{2}}")
"`a@b.test on Thu, 29 Apr 2007 16:51:51 -0500`"
FOLLOWED = re.compile(
    rf"{WHOLE}[:,]? (?:invalid|error|unknown|rejected|failed|was|is|has|could|does|-|\()",
    re.IGNORECASE,
)
"`a@b.test Invalid Address, …`"
EXPLAINED = re.compile(rf"{WHOLE}(?:: | \.\.\. | because: | ?\[).+")
"`a@b.test: 550 5.1.1 …`, `a@b.test [User unknown]`"
TOLD = re.compile(rf"[A-Z][A-Za-z0-9 ,'_-]{{3,80}}: ?<?{WHOLE}>?")
"`Unknown user: a@b.test`"
LABELLED = re.compile(
    r"(?:.{0,80}\b)?(?:recipient|address|user|to|for|reach)(?: group| user| address)?"
    rf"""[\s:]{{1,4}}["'<]{{0,2}}{WHOLE}""",
    re.IGNORECASE,
)
"`Unable to deliver message to: <a@b.test>`"
REPLIED = re.compile(r"[245]\d\d[ -].{0,200}?<([^\s<>]{1,128}@[^\s<>]{3,255})>")
"`554 <a@b.test>... Host unknown`"

STRONG = (ALONE, QUOTED, DATED, FOLLOWED, EXPLAINED)
WEAK = (TOLD, LABELLED)
LAST = (REPLIED,)

OF_THE_MAIL = (
    "message-id:",
    "message id:",
    "references:",
    "in-reply-to:",
    "from:",
    "sender:",
    "mail from:",
    "original sender:",
    "return-path:",
    "reply-to:",
    "received:",
    "subject:",
)
"Lines that name an address which is nobody's here or the sender's."


def read_notice(lines: tuple[str, ...], own: frozenset[str]) -> tuple[Finding, ...]:
    """Find the recipients; `own` holds the addresses of the bounce itself, which are recipients
    only where they are set apart and no others are.
    """
    nobody: frozenset[str] = frozenset()
    for forms, refused in (
        (STRONG, own),
        (WEAK, own),
        (LAST, own),
        (STRONG, nobody),
    ):
        places = _places(lines, forms, refused)
        if places:
            return _sections(lines, places)
    return ()


def addressed(lines: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[Finding, ...]:
    """Find what is said of recipients that are known from elsewhere."""
    places: dict[int, str] = {}
    for address in addresses[:RECIPIENTS_LIMIT]:
        named = (at for at, line in enumerate(lines) if address.lower() in line.lower())
        at = next(named, 0)
        while at in places:
            at += 1
        places[at] = address
    return _sections(lines, dict(sorted(places.items())))


def with_context(found: tuple[Finding, ...], lines: tuple[str, ...]) -> tuple[Finding, ...]:
    """Add to what a report says of each recipient what the notice says of the same one."""
    if len(found) == 1:
        return (replace(found[0], context=_joined(lines)),)
    addresses = frozenset((each.address or "").lower() for each in found)
    told = _told_of_each(lines, addresses)
    return tuple(
        replace(each, context=_joined(tuple(told.get((each.address or "").lower(), ()))))
        for each in found
    )


def _told_of_each(lines: tuple[str, ...], addresses: frozenset[str]) -> dict[str, list[str]]:
    """Give each address the lines that name it and those up to where another one is named."""
    told: dict[str, list[str]] = {address: [] for address in addresses}
    current: frozenset[str] = frozenset()
    for line in lines:
        named = frozenset(address.lower() for address in addresses_in(line)) & addresses
        current = named or current
        for address in current:
            told[address].append(line)
    return told


def _places(
    lines: tuple[str, ...], forms: tuple[re.Pattern[str], ...], refused: frozenset[str]
) -> dict[int, str]:
    found: dict[int, str] = {}
    for at, line in enumerate(lines):
        address = _set_apart(line, forms) if "@" in line else None
        if address and address.lower() not in refused and address not in found.values():
            found[at] = address
        if len(found) >= RECIPIENTS_LIMIT:
            break
    return found


def _set_apart(line: str, forms: tuple[re.Pattern[str], ...]) -> str | None:
    if line.lower().startswith(OF_THE_MAIL):
        return None
    for form in forms:
        match = form.fullmatch(line) if form is ALONE else form.match(line)
        if match:
            return address_in(match[1])
    return None


def _sections(lines: tuple[str, ...], places: dict[int, str]) -> tuple[Finding, ...]:
    """Give each recipient the lines from its own to the next one's.

    Recipients listed one below the other share what follows the list.
    """
    starts = list(places)
    whole = _joined(lines) if len(starts) == 1 else ""
    findings = []
    for index, start in enumerate(starts):
        end = index + 1
        while end < len(starts) and _only_listed(lines[starts[end - 1] : starts[end]]):
            end += 1
        section = lines[start : starts[end] if end < len(starts) else len(lines)]
        findings.append(Finding(places[start], diagnostic=_joined(section), context=whole))
    return tuple(findings)


def _only_listed(lines: tuple[str, ...]) -> bool:
    return not any(lines[1:]) and ALONE.fullmatch(lines[0]) is not None


def _joined(lines: tuple[str, ...]) -> str:
    return "\n".join(line for line in lines if line)[:TEXT_LIMIT_CHARS]
