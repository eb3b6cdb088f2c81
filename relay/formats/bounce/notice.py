"""The part of a bounce that is written for people.

`notice_of` gives its lines up to where the returned mail begins; `read_notice` finds in them the
recipients and what is said of each. There are as many wordings as mailers, but few ways to set an
address apart, so the forms are of lines and not of mailers.
"""

import html
import re
from dataclasses import replace

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.letter import Letter, Part
from relay.formats.bounce.mailbox import address_in, addresses_in

LINES_LIMIT = 600
LINE_LIMIT_CHARS = 1_000
RECIPIENTS_LIMIT = 100
DIAGNOSTIC_LIMIT_CHARS = 4_000

TAG = re.compile(r"<(?![^<>\s]{1,128}@)[^<>]{0,2000}>")
BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?h\d|/?li)\b[^<>]{0,500}>", re.I)
NOT_SHOWN = re.compile(r"<(style|script|title)\b[^<>]{0,500}>[^<]{0,20000}", re.I)

ORIGINAL_BEGINS = re.compile(
    r"(?:[-=*_| ]{0,60}\s?(?:"
    r"below (?:this line )?is (?:a copy|the original)"
    r"|below this line is a copy"
    r"|enclosed is a copy"
    r"|this is a copy of (?:the|your) (?:message|mail|body)"
    r"|the (?:header|headers|body) of the (?:original )?message"
    r"|(?:here is |following is )?(?:a copy of )?(?:the |your )?(?:original|returned|unsent|undelivered|bounced) (?:e-?mail |text |mail )?(?:message|mail|text|header)(?: headers?| info| text| body)?"
    r"(?: follows| is attached| as follows| is following| is included)?"
    r"|message headers? follows?"
    r"|the following (?:is|was) (?:the|a copy of) "
    r"|copy of (?:the|your) (?:original )?message"
    r"|returned message"
    r"|unsent message follows"
    r"|message text follows"
    r"|forwarded message"
    r"|header of the original"
    r"|your (?:original )?message (?:headers )?follows"
    r"|original message)\b[^@]{0,40}"
    r"|received:\s?(?:from|by|\(|$).{0,999}|return-path:.{0,999}|dkim-signature:.{0,999}"
    r"|content-type: message/.{0,999}"
    r")",
    re.I,
)

ALONE = re.compile(
    r"(?:\*|>>>|-|•|\d{1,3}\.|to:?|recipient:?|rcpt to:?|address:?|user:?)?\s{0,4}"
    r"""(?:"[^"]{0,100}"\s?)?["'`<(]{0,2}([^\s<>()"',;:]{1,128}@[^\s<>()"',;:/]{3,255}?)[>"'`)]{0,2}[.:]{0,3}"""
    r"(?:\s?<[^<>\s]{3,320}>)?(?:\s?\(.{0,200}\))?"
    r"(?:\s?(?:unknown|failed))?",
    re.I,
)
LEADING = re.compile(
    r"""["'<]{1,2}([^\s<>()"',;:]{1,128}@[^\s<>()"',;:/]{3,255})[>"']{1,2}(?::|\s?\.\.\.|\s?,|\s?;|\s?\(|\s?-| )"""
)
DATED = re.compile(r"([^\s<>]{1,128}@[^\s<>]{3,255}?) on \w{3,10}[,.]? .{0,60}\d{2}:\d{2}")
LABELLED = re.compile(
    r"(?:.{0,60}\b)?(?:recipient(?: address)?|addressed to|address|failed recipient|undeliverable to|undeliverable address"
    r"|deliver(?:ed|y|ing)?(?: your (?:mail|message|e-?mail))?(?: message)? to(?: the following recipients?)?"
    r"|(?:could|can|was) not (?:be )?(?:delivered|sent)(?: your message)? to"
    r"|message (?:sent )?to|mail to|your message for|email to|e-mail to|rcpt to|intended recipient|user|unable to deliver to"
    r"|did not reach|couldn't be delivered to|wasn't delivered to|not delivered to|for|unknown user|to)"
    r"(?: group| user| address)?"
    r"""[\s:]{1,4}["'<]{0,2}([^\s<>()"',;:]{1,128}@[^\s<>()"',;:/]{3,255})""",
    re.I,
)
TOLD = re.compile(
    r"[A-Z][A-Za-z0-9 ,'_-]{3,80}: ?<?([^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:/]{3,255})>?"
)
FOLLOWED = re.compile(
    r"([^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:/]{3,255})[:,]? (?:invalid|error|unknown|rejected|failed|was|is|has|could|does|-|\()",
    re.I,
)
TOLD_OF = re.compile(
    r"([^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:/]{3,255})(?:: | \.\.\. | because: | ?\[).+"
)
REPLIED = re.compile(r"[245]\d\d[ -].{0,200}?<([^\s<>]{1,128}@[^\s<>]{3,255})>")
STRONG = (ALONE, LEADING, DATED, FOLLOWED, TOLD_OF)
WEAK = (TOLD, LABELLED, REPLIED)


def notice_of(letter: Letter) -> tuple[str, ...]:
    """Return the lines written for people, stripped, up to where the returned mail begins."""
    plain = [part for part in letter.parts if part.type == "text/plain"]
    lines = _until_original(plain)
    if not any(lines):
        pages = [_unmarked(part) for part in letter.parts if part.type == "text/html"]
        lines = _until_original(pages)
    return tuple(lines)


def read_notice(lines: tuple[str, ...], own: frozenset[str]) -> tuple[Finding, ...]:
    """Find the recipients; `own` holds the addresses of the bounce itself, which are recipients
    only where a line says so beyond doubt.
    """
    for forms, refused in ((STRONG, own), (WEAK, own), (STRONG, frozenset())):
        at = _recipient_lines(lines, forms, refused)
        if at:
            return _sections(lines, at)
    return ()


def addressed(lines: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[Finding, ...]:
    """Find what is said of recipients that are known from elsewhere."""
    at: dict[int, str] = {}
    for address in addresses[:RECIPIENTS_LIMIT]:
        places = [i for i, line in enumerate(lines) if address.lower() in line.lower()]
        at[places[0] if places else -1 - len(at)] = address
    if len(at) == 1:
        return (
            Finding(
                addresses[0],
                diagnostic=_joined(lines[max(at) if max(at) > 0 else 0 :]),
                context=_joined(lines),
            ),
        )
    return _sections(lines, dict(sorted(at.items())))


def section_of(lines: tuple[str, ...], finding: Finding, others: frozenset[str]) -> Finding:
    """Add to what a report says of a recipient what the notice says of the same one."""
    if not others:
        return replace(finding, context=_joined(lines))
    taken: list[str] = []
    mine = False
    for line in lines:
        named = {address.lower() for address in addresses_in(line)}
        if (finding.address or "").lower() in named:
            mine = True
        elif named & others:
            mine = False
        if mine:
            taken.append(line)
    return replace(finding, context=_joined(tuple(taken)))


def _until_original(parts: list[Part]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        for raw in part.lines:
            line = _unquoted(raw[:LINE_LIMIT_CHARS])
            if ORIGINAL_BEGINS.fullmatch(line) and any(lines):
                return lines
            lines.append(line)
            if len(lines) >= LINES_LIMIT:
                return lines
    return lines


def _unquoted(line: str) -> str:
    stripped = line.strip()
    if stripped.startswith(">") and not stripped.startswith(">>>"):
        stripped = stripped[1:].strip()
    return stripped


def _unmarked(page: Part) -> Part:
    text = BREAK.sub("\n", NOT_SHOWN.sub(" ", " ".join(page.lines)))
    text = html.unescape(TAG.sub(" ", text))
    return replace(page, lines=tuple(" ".join(line.split()) for line in text.split("\n")))


def _recipient_lines(
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
    for form in forms:
        match = form.fullmatch(line) if form is ALONE else form.match(line)
        if match:
            return address_in(match[1])
    return None


def _sections(lines: tuple[str, ...], at: dict[int, str]) -> tuple[Finding, ...]:
    """Give each recipient the lines from its own to the next one's.

    Recipients listed one below the other share what follows the list.
    """
    starts = list(at)
    whole = _joined(lines)
    findings = []
    for index, start in enumerate(starts):
        end = index + 1
        while end < len(starts) and _only_listed(lines[starts[end - 1] : starts[end]]):
            end += 1
        section = lines[start : starts[end] if end < len(starts) else len(lines)]
        alone = len(starts) == 1
        findings.append(Finding(at[start], diagnostic=_joined(section), context=whole * alone))
    return tuple(findings)


def _only_listed(lines: tuple[str, ...]) -> bool:
    return not any(lines[1:]) and ALONE.fullmatch(lines[0]) is not None


def _joined(lines: tuple[str, ...]) -> str:
    return "\n".join(line for line in lines if line)[:DIAGNOSTIC_LIMIT_CHARS]
