"""What a mail that came back says.

Nothing in here is verified: anyone can write a mail that looks like a bounce. Who acts on it
first finds the mail it speaks of, by a token that only we can have made.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What to make of the address."""

    HARD = "hard"
    "The address will never work."
    SOFT = "soft"
    "It may work later."
    BLOCK = "block"
    "Policy, reputation or authentication: about the sender or the mail, not the address."
    NONE = "none"
    "No bounce: delayed, relayed, delivered, out of office, feedback report."


@dataclass(frozen=True, slots=True)
class ReturnedRecipient:
    """One recipient, and what became of the mail there.

    `address` is the recipient as the sender wrote it where the bounce tells (original, else
    final), `action` and `status` are RFC 3464's, `reply_code` is of SMTP, `reason` is one word.
    """

    address: str | None
    action: str | None
    status: str | None
    reply_code: int | None
    kind: Kind
    reason: str
    diagnostic: str
    remote_mta: str | None


@dataclass(frozen=True, slots=True)
class Clues:
    """What the mail that came back says of the one that was sent, to find it by.

    `delivered_to` holds the addresses this bounce was delivered to (Delivered-To, X-Original-To,
    Envelope-To, To): where a VERP token may stand. The ids are of the returned headers;
    `message_ids` takes in In-Reply-To and References of the bounce itself. `complainants` are those
    whom a feedback report names: their mail was delivered, so they are no recipients of a bounce.
    """

    delivered_to: tuple[str, ...] = ()
    pillarbox_ids: tuple[str, ...] = ()
    genro_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    envelope_id: str | None = None
    complainants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Returned:
    """A mail that came back: `kind` and `reason` are of the recipient hit worst."""

    kind: Kind
    reason: str
    recipients: tuple[ReturnedRecipient, ...]
    is_complaint: bool
    clues: Clues
