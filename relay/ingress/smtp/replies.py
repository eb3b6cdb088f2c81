"""What a client is told: a reply for each error (RFC 5321 §4.2, RFC 3463).

Trouble of ours is a 4xx with a neutral text: the client keeps the mail and tries again, and the
log has the detail. Whatever a text repeats of the client's words is made printable ASCII, so it
cannot forge a line.
"""

import re

from relay.errors import (
    CommitInDoubt,
    Permanent,
    QuotaExceeded,
    Refused,
    RelayError,
    ShuttingDown,
    StoreFull,
)

LONGEST_TEXT = 400  # RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets.
_UNPRINTABLE = re.compile(r"[^ -~]")


class Gone(Permanent):
    """The client has left: there is nobody to reply to."""


class Hangup(Permanent):
    """The session ends; `str(error)` is the whole reply that says so."""


def reply_for(error: RelayError) -> str:
    match error:
        case Refused():
            return line(f"{error.code} {error.enhanced} {error}")
        case StoreFull():
            return "452 4.3.1 Insufficient system storage"
        case CommitInDoubt():
            return "451 4.3.0 Temporary trouble here: perhaps taken, else try again later"
        case QuotaExceeded():
            return "452 4.3.1 Too much mail of yours is waiting"
        case ShuttingDown():
            return "421 4.3.2 Shutting down, try again later"
        case Hangup():
            return line(str(error))
    return "451 4.3.0 Temporary trouble here, try again later"


def line(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)[:LONGEST_TEXT]


def bad_syntax(text: str) -> Refused:
    return Refused(text, code=501, enhanced="5.5.4")


def bad_sequence(text: str) -> Refused:
    return Refused(text, code=503, enhanced="5.5.1")


def no_longer_valid() -> Hangup:
    return Hangup("421 4.7.0 This login is not valid any more")
