"""Why a mail was not delivered, in one word.

What was said decides before what was numbered: servers choose words with more care than codes. The
words are looked up in `phrases`, then the status code (RFC 3463), then the command that was
answered; what is said of this recipient goes before what else the notice says.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from relay.formats.bounce.phrases import EXACT, TABLES, Table
from relay.formats.bounce.reply import Reply

SEARCHED_CHARS = 4_000
GAP_CHARS = 120
ADDRESS = re.compile(r"<?[^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:]{3,255}>?")
CODES = re.compile(r"(?<!\d)[245]\d\d(?:-|[ -][245]\.\d{1,3}\.\d{1,3}(?!\.))")


BY_STATUS: tuple[tuple[str, str], ...] = (
    ("1.0", "userunknown"),
    ("1.1", "userunknown"),
    ("1.2", "hostunknown"),
    ("1.3", "userunknown"),
    ("1.4", "filtered"),
    ("1.6", "hasmoved"),
    ("1.7", "rejected"),
    ("1.8", "rejected"),
    ("1.9", "hostunknown"),
    ("1.10", "notaccept"),
    ("2.0", "filtered"),
    ("2.1", "filtered"),
    ("2.2", "mailboxfull"),
    ("2.3", "exceedlimit"),
    ("2.4", "filtered"),
    ("3.0", "systemerror"),
    ("3.1", "systemfull"),
    ("3.2", "notaccept"),
    ("3.3", "systemerror"),
    ("3.4", "mesgtoobig"),
    ("3.5", "systemerror"),
    ("4.0", "networkerror"),
    ("4.1", "expired"),
    ("4.2", "networkerror"),
    ("4.3", "systemerror"),
    ("4.4", "hostunknown"),
    ("4.5", "networkerror"),
    ("4.6", "networkerror"),
    ("4.7", "expired"),
    ("5.0", "syntaxerror"),
    ("5.1", "syntaxerror"),
    ("5.2", "syntaxerror"),
    ("5.3", "toomanyconn"),
    ("5.4", "syntaxerror"),
    ("6.0", "contenterror"),
    ("6.1", "contenterror"),
    ("6.2", "contenterror"),
    ("6.3", "contenterror"),
    ("6.5", "contenterror"),
    ("7.0", "securityerror"),
    ("7.1", "securityerror"),
    ("7.2", "filtered"),
    ("7.5", "securityerror"),
    ("7.8", "securityerror"),
    ("7.9", "securityerror"),
    ("7.13", "suspend"),
    ("7.20", "authfailure"),
    ("7.21", "authfailure"),
    ("7.22", "authfailure"),
    ("7.23", "authfailure"),
    ("7.25", "requireptr"),
    ("7.26", "authfailure"),
    ("7.27", "notaccept"),
    ("7.28", "spamdetected"),
    ("7.29", "authfailure"),
    ("7.509", "authfailure"),
    ("7.606", "blocked"),
)
STATUS_REASONS = dict(BY_STATUS)
SAID_BY_PROGRAMS = ("mailboxfull", "userunknown")
VAGUE = frozenset({"securityerror", "systemerror", "syntaxerror", "networkerror", "filtered"})
"What a status can say and a phrase would say better."

LOCAL_ERROR = 451
"RFC 5321 §4.2.3: requested action aborted: local error in processing."

BY_COMMAND = {"CONN": "blocked", "HELO": "blocked", "MAIL": "rejected"}


BY_CATEGORY = {
    "bad-mailbox": "userunknown",
    "bad-domain": "hostunknown",
    "inactive-mailbox": "suspend",
    "quota-issues": "mailboxfull",
    "spam-related": "spamdetected",
    "virus-related": "virusdetected",
    "policy-related": "policyviolation",
    "content-related": "contenterror",
    "message-expired": "expired",
    "no-answer-from-host": "networkerror",
    "routing-errors": "networkerror",
    "bad-connection": "networkerror",
    "relaying-issues": "norelaying",
    "invalid-sender": "rejected",
    "protocol-errors": "syntaxerror",
    "bad-configuration": "systemerror",
}
"PowerMTA's; what it calls «other» is read as if it had said nothing."


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
    return _said(case, case.diagnostic) or _numbered(case) or _left_over(case)


def _said(case: Case, text: str) -> str | None:
    found = phrase_in(text[:SEARCHED_CHARS])
    if found is None:
        return None
    reason, table = found
    if reason == "userunknown" and table not in EXACT:
        return _unknown_user(case)
    return reason


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
    reason = STATUS_REASONS.get(_detail(case.status) or "")
    if reason is None or reason in VAGUE:
        further = _said(case, case.context)
        return further or reason
    return reason


def _left_over(case: Case) -> str:
    if case.is_delayed:
        return "expired"
    if case.reply.code is not None and case.reply.command in BY_COMMAND:
        return BY_COMMAND[case.reply.command]
    if case.reply.code == LOCAL_ERROR:
        return "systemerror"
    return "onhold" if case.diagnostic.strip() else "undefined"


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
