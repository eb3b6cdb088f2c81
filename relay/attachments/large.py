"""What may become of a file that is too big to travel in a mail: the seam to `offload`.

The preparer asks for each fetched file, when it lies on disk and is not yet in the mail, and once
for the whole mail, whose own parts (SMTP, base64) may be too big as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from relay.model import Delivery, Tenant


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on disk or in memory, to be read from its start, in a thread. Not to be closed."""

    filename: str
    mime_type: str
    size_bytes: int
    sha256: str
    file: BinaryIO = field(repr=False)


@dataclass(frozen=True, slots=True)
class Insert:
    """It travels in the mail."""


@dataclass(frozen=True, slots=True)
class Link:
    """It is stored elsewhere; the mail gets this link instead."""

    filename: str
    mime_type: str
    size_bytes: int
    sha256: str
    url: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Reject:
    """The mail fails; the reason is fit for the client."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A mail whose links are written; `taken_out` are the parts of it that became links just now,
    in their order, besides those that were given.
    """

    content: bytes = field(repr=False)
    taken_out: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """The mail that is being prepared, and whose it is."""

    delivery: Delivery
    tenant: Tenant


class LargeFiles(Protocol):
    """Each method raises a Temporary error when the mail is to be tried again later."""

    def most_bytes(self, tenant: Tenant) -> int | None:
        """Return how big a file may be that becomes a link; None where none does."""
        ...

    async def place(self, subject: Subject, fetched: Fetched) -> Insert | Link | Reject:
        """Decide on a fetched file; where it is a link, it is stored when this returns."""
        ...

    async def rewrite(
        self, subject: Subject, content: bytes, links: Sequence[Link]
    ) -> Rewritten | Reject:
        """Write the links into the mail, and take out of it what is too big."""
        ...


class EverythingTravels:
    """No file becomes a link."""

    def most_bytes(self, tenant: Tenant) -> int | None:
        return None

    async def place(self, subject: Subject, fetched: Fetched) -> Insert | Link | Reject:
        return Insert()

    async def rewrite(
        self, subject: Subject, content: bytes, links: Sequence[Link]
    ) -> Rewritten | Reject:
        return Rewritten(content)
