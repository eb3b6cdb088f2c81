"""From whom and to whom a finished mail goes, and the id under which it is given.

The id follows from content and envelope, so that the same mail given again is known as the same:
whoever is interrupted runs the command again. Pure.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.errors import Refused
from relay.formats.address import mailbox_list
from relay.formats.headers import scan

# A request's head has 8 KB in all.
MOST_QUERY_CHARS = 4000
SENDER_FIELDS = ("Sender", "From")
RECIPIENT_FIELDS = ("To", "Cc", "Bcc")


@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` is `<>` for the null sender."""

    sender: str
    recipients: tuple[str, ...]


def envelope_of(content: bytes, sender: str | None, recipients: Sequence[str]) -> Envelope:
    """Return what was given, and for the rest what the header says. Raises Refused."""
    head = scan(content)
    if sender is None:
        named = next((value for name in SENDER_FIELDS if (value := head.first(name))), None)
        if named is None:
            raise Refused("no From in its header: say --from")
        sender = addresses(named)[0]
    if not recipients:
        lists = [value for name in RECIPIENT_FIELDS for value in head.all(name) if value]
        recipients = [address for text in lists for address in addresses(text)]
    if not recipients:
        raise Refused("no To, Cc or Bcc in its header: say --to")
    return Envelope(sender, tuple(dict.fromkeys(recipients)))


def addresses(text: str) -> list[str]:
    return [box.address for box in mailbox_list(text)]


def portions(envelope: Envelope, most_recipients: int = 100) -> Iterator[Envelope]:
    """Cut an envelope into what one request can carry."""
    taken: list[str] = []
    size = 0
    for address in envelope.recipients:
        # In a query an octet takes three characters at most.
        size += 3 * len(address.encode()) + len("&to=")
        if taken and (size > MOST_QUERY_CHARS or len(taken) == most_recipients):
            yield Envelope(envelope.sender, tuple(taken))
            taken, size = [], 3 * len(address.encode())
        taken.append(address)
    yield Envelope(envelope.sender, tuple(taken))


def id_of(content: bytes, envelope: Envelope) -> str:
    """Return the id of a mail; line ends do not count, files have them in two ways."""
    hashed = hashlib.sha256()
    for part in (envelope.sender, *sorted(envelope.recipients)):
        hashed.update(part.encode() + b"\0")
    hashed.update(content.replace(b"\r\n", b"\n"))
    return f"send-{hashed.hexdigest()[:24]}"
