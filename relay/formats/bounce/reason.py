"""Why a mail was not delivered, in one word.

What was said decides before what was numbered: servers choose words with more care than codes. The
words are looked up in `phrases`, then the status code (RFC 3463), then the command that was
answered; what the server replied goes before what the mailer says around it, and what is said of
this recipient before what else the notice says.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from relay.formats.bounce.phrases import EXACT, GENERAL, TABLES, Table
from relay.formats.bounce.reply import Reply, read_reply, reply_in
from relay.formats.bounce.statuses import BY_CATEGORY, BY_CODE, BY_STATUS, VAGUE

SEARCHED_CHARS = 4_000
GAP_CHARS = 120
ADDRESS = re.compile(r"<?[^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:]{3,255}>?")
CODES = re.compile(r"(?<!\d)[245]\d\d(?:-|[ -][245]\.\d{1,3}\.\d{1,3}(?!\.))")

SAID_BY_PROGRAMS = ("mailboxfull", "userunknown")
BY_COMMAND = {"CONN": "blocked", "HELO": "blocked", "MAIL": "rejected"}
TOO_LARGE = ("mesgtoobig", "exceedlimit")
TOO_LARGE_BY_STATUS = {"2.2": "mailboxfull", "2.3": "exceedlimit", "3.4": "mesgtoobig"}
"RFC 3463 §3.3, §3.4: the mailbox is full, its limit is passed, the system's limit is passed."


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a failure when its reason is asked for."""

    reply: Reply
    status: str | None
    mechanism: str
    category: str
    diagnostic: str
    context: str
    is_delayed: bool


def reason_of(case: Case) -> str:
    if case.category in BY_CATEGORY:
        return BY_CATEGORY[case.category]
    if case.mechanism == "x-unix":
        said = _said(case, case.context)
        return said if said in SAID_BY_PROGRAMS else "mailererror"
    return _replied(case) or _said(case, case.diagnostic) or _numbered(case) or _left_over(case)


def _replied(case: Case) -> str | None:
    """Read the server's own words, where a mailer has put some of its own before them."""
    reply = reply_in(case.diagnostic)
    if not reply:
        return _said(case, case.diagnostic) or _replied_around(case)
    if reply == case.diagnostic:
        return None
    return _said(case, reply) or _by_number(case)


def _replied_around(case: Case) -> str | None:
    """Read the reply that the notice has: its words go with its status, and with no other."""
    reply = reply_in(case.context)
    numbered = _by_number(case)
    if numbered and read_reply(reply).status != case.status:
        return numbered
    found = phrase_in(case.context[:SEARCHED_CHARS])
    if found is not None and found[1] in EXACT:
        return found[0]
    return _said(case, reply) or numbered


def _by_number(case: Case) -> str | None:
    """Return what the status alone tells, where that is enough."""
    reason = _by_status(case.status)
    return None if reason in VAGUE else reason


def _said(case: Case, text: str) -> str | None:
    found = phrase_in(text[:SEARCHED_CHARS])
    if found is None:
        return None
    reason, table = found
    if table in EXACT:
        return reason
    if reason == "userunknown":
        return _unknown_user(case)
    if reason in TOO_LARGE:
        return TOO_LARGE_BY_STATUS.get(_detail(case.status) or "", reason)
    return _at_the_door(case, reason, is_vague=table is GENERAL)


def _at_the_door(case: Case, reason: str, *, is_vague: bool) -> str:
    """Read as kept out whom the server turned away before it heard of a sender."""
    if case.reply.command not in ("CONN", "HELO"):
        return reason
    is_excuse = is_vague and reason == "systemerror"
    return "blocked" if is_excuse or reason == "rejected" else reason


def _unknown_user(case: Case) -> str:
    """Believe it where it was said to RCPT, or is numbered so, or is said by no server.

    A server that took the address and then refused the mail filters: it knows the user.
    """
    subject = _detail(case.status)
    if subject == "1.6":
        return "hasmoved"
    if (subject or "").startswith("1.") or case.reply.command == "RCPT" or case.reply.code is None:
        return "userunknown"
    return "filtered"


def _numbered(case: Case) -> str | None:
    if case.is_delayed and not case.diagnostic:
        return _said(case, case.context) or "expired"
    reason = _by_status(case.status)
    if reason is None or reason in VAGUE:
        further = _said(case, case.context)
        return further or reason
    return reason


def _left_over(case: Case) -> str:
    if case.is_delayed:
        return "expired"
    if case.reply.code is not None and case.reply.command in BY_COMMAND:
        return BY_COMMAND[case.reply.command]
    if case.reply.code in BY_CODE:
        return BY_CODE[case.reply.code]
    return "onhold" if case.diagnostic.strip() else "undefined"


def _by_status(status: str | None) -> str | None:
    return BY_STATUS.get(status or "") or BY_STATUS.get(_detail(status) or "")


def _detail(status: str | None) -> str | None:
    return status.partition(".")[2] if status else None


@lru_cache(maxsize=64)
def phrase_in(text: str) -> tuple[str, Table] | None:
    """Return the reason of the first phrase of the tables that the text has, and its table."""
    told = _plain(text)
    for table in TABLES:
        for reason, phrases in table:
            if any(_has(told, phrase) for phrase in phrases):
                return reason, table
    return None


def _plain(text: str) -> str:
    lowered = " ".join(CODES.sub(" ", text.lower()).split())
    return ADDRESS.sub("@", lowered).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _has(text: str, phrase: str) -> bool:
    if "*" not in phrase:
        return phrase in text
    first, *rest = (piece.strip() for piece in phrase.split("*"))
    at = text.find(first)
    while at >= 0:
        if _follow(text, at + len(first), rest):
            return True
        at = text.find(first, at + 1)
    return False


def _follow(text: str, at: int, pieces: list[str]) -> bool:
    for piece in pieces:
        found = text.find(piece, at, at + GAP_CHARS + len(piece))
        if found < 0:
            return False
        at = found + len(piece)
    return True
