"""Three books on the same mails: what clients were told, what the sinks got, what the relay shows.

A mail is known by its token, 128 random bits that stand in a header of its own and are the local
part of its recipient, so that every book can be written without asking another one.
"""

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import takewhile
from time import monotonic

FIELD = "X-Fault-Id"
_STARTS = re.compile(rb"^X-Fault-Id: (\w+)\r\n", re.MULTILINE)


class Face(StrEnum):
    SMTP = "smtp"
    REST = "rest"


class Reply(StrEnum):
    """`NOTHING`: the client cannot know whether its mail was taken."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOTHING = "no reply"


@dataclass(frozen=True, slots=True)
class Given:
    """A mail as a client gave it, and what it was told. `digest` is as in `Got`."""

    token: str
    tenant_id: str
    face: Face
    digest: str
    begun_at: float
    node: int = 0
    reply: Reply = Reply.NOTHING
    code: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply other than success, of whatever command; SMTP or HTTP code."""

    face: Face
    code: int
    text: str
    token: str | None = None


@dataclass
class ClientLedger:
    """What clients gave and were told. A mail is entered before the first byte of its content."""

    mails: dict[str, Given] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def begin(self, given: Given) -> None:
        self.mails[given.token] = given

    def withdraw(self, token: str) -> None:
        """Strike a mail that never left its client."""
        del self.mails[token]

    def accepted(self, token: str, code: int) -> None:
        self.mails[token] = replace(self.mails[token], reply=Reply.ACCEPTED, code=code)

    def refused(self, refusal: Refusal) -> None:
        """Enter a refusal; a mail that was refused outright is not in doubt any more."""
        self.refusals.append(refusal)
        if refusal.token is not None:
            given = self.mails[refusal.token]
            self.mails[refusal.token] = replace(given, reply=Reply.REFUSED, code=refusal.code)

    def tokens(self, *replies: Reply) -> set[str]:
        return {given.token for given in self.mails.values() if given.reply in replies}

    def taken_since(self, moment: float, node: int) -> bool:
        """Whether a mail that was begun since then was accepted by that node."""
        recent = takewhile(lambda given: given.begun_at >= moment, reversed(self.mails.values()))
        return any(given.reply is Reply.ACCEPTED and given.node == node for given in recent)


@dataclass(frozen=True, slots=True)
class Got:
    """A mail as a sink got it, once. `whole` is of its bytes from the token's field on (what was
    put in front is the relay's own), `body` of those behind the header.
    """

    token: str
    tenant_id: str
    recipient: str
    whole: str
    body: str
    strangers: tuple[str, ...]
    at: float


@dataclass
class SinkLedger:
    """What one tenant's upstream got. `canaries` are the words of all tenants."""

    tenant_id: str
    canaries: dict[str, str]
    mails: list[Got] = field(default_factory=list)

    def enter(self, content: bytes, recipients: Iterable[str], at: float) -> None:
        token, whole, body = digests(content)
        strangers = tuple(
            tenant_id
            for tenant_id, word in self.canaries.items()
            if tenant_id != self.tenant_id and word.encode() in content
        )
        self.mails += [
            Got(token, self.tenant_id, recipient, whole, body, strangers, at)
            for recipient in recipients
        ]

    @property
    def tokens(self) -> set[str]:
        return {got.token for got in self.mails}


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as the relay shows it, one recipient. `unknown` counts the attempts whose end
    nobody saw; None where it was not asked for. `has_event`: its end was told.
    """

    token: str
    tenant_id: str
    pk: str
    status: str
    unknown: int | None = None
    is_flagged: bool = False
    has_event: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """A look at one node. `latency_s` is None where it did not answer."""

    node: int
    at: float
    latency_s: float | None
    rss_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Overheard:
    """A text that a tenant was shown, or, of nobody, that anybody may read (a log)."""

    where: str
    tenant_id: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Books:
    """All that is known after a run. `canaries` are the tenants' words, `planted` the secrets."""

    given: Sequence[Given]
    refusals: Sequence[Refusal]
    got: Sequence[Got]
    shown: Sequence[Shown]
    health: Sequence[Health] = ()
    overheard: Sequence[Overheard] = ()
    canaries: tuple[tuple[str, str], ...] = ()
    planted: tuple[tuple[str, str], ...] = ()

    def copies(self) -> Counter[tuple[str, str]]:
        """Count the mails by token and recipient."""
        return Counter((got.token, got.recipient) for got in self.got)


def new_token() -> str:
    return f"t{secrets.token_hex(16)}"


def begun(token: str, tenant_id: str, face: Face, content: bytes, node: int = 0) -> Given:
    """Describe a mail that is about to be given, `content` being its bytes, by REST its body."""
    digest = digests(content)[1] if face is Face.SMTP else sha(content)
    return Given(token, tenant_id, face, digest, monotonic(), node)


def digests(content: bytes) -> tuple[str, str, str]:
    """Return token, digest of the bytes from its field on, digest of the body."""
    start = _STARTS.search(content)
    body = content.partition(b"\r\n\r\n")[2]
    if start is None:
        return "", sha(content), sha(body)
    return start[1].decode(), sha(content[start.start() :]), sha(body)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
