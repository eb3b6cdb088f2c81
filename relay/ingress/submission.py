"""A mail as a client gave it, and what can be said of it by itself: what its control headers ask
for, whom it claims to be from, how listings describe it. Pure.
"""

import json
import re
from dataclasses import replace
from enum import StrEnum

from relay.errors import ContentRefused, Refused
from relay.formats.address import mailbox_list, sender_allowed
from relay.formats.headers import Controls, Head, display
from relay.model import (
    Account,
    ContentTraits,
    Credential,
    Envelope,
    Ingress,
    OnUnknown,
    Priority,
    Recipient,
    Tenant,
)
from relay.store.attachments import Given
from relay.value import frozen

BELOW_MAX_BYTES = 102_400
# Each of thousands of authors may take as long as a small mail.
AUTHORS_MAX_CHARS = 4096
_AUTHOR = re.compile(rb"^from[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Repair(StrEnum):
    """What was wrong with how a mail was handed over, and was put right."""

    BARE_LF = "bare_lf"
    NO_BRACKETS = "no_brackets"
    NO_HELO_NAME = "no_helo_name"
    OLD_TLS = "old_tls"
    SPACE_BEFORE_PATH = "space_before_path"


@frozen
class Origin:
    """Where a mail came from, for its `Received` field; `helo` and `ip` are None where there is
    none. `level` is the MT-PRIORITY that was asked for (RFC 6710).
    """

    protocol: str
    helo: str | None = None
    ip: str | None = None
    level: int | None = None


@frozen
class Submission:
    """A mail as a client gave it. `sender` is "" for the null reverse-path; addresses are canonical
    already.

    `credential` is the SMTP login, None for a REST token (which may send as anyone of its tenant).
    Values that are None are taken from the control headers, then from the defaults. `record` is the
    JSON object shown in listings. `keeps_sender` and `takes_suppressed` are as in `NewMail`,
    `is_dotless` as in `ContentTraits`. `attachments` are the files of a composed mail, those that
    its content lacks among them; `head` and `traits` are of a mail that was composed here, and so
    need not be looked for.
    """

    tenant_id: str
    sender: str
    recipients: tuple[Recipient, ...]
    content: bytes
    ingress: Ingress
    origin: Origin
    credential: Credential | None = None
    account_id: str | None = None
    id: str | None = None
    priority: Priority | None = None
    due_at: float | None = None
    expires_in_s: float | None = None
    max_attempts: int | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    batch_code: str | None = None
    metadata: str | None = None
    record: str | None = None
    ret: str | None = None
    envid: str | None = None
    idempotency_key: str | None = None
    keeps_sender: bool = False
    takes_suppressed: bool = False
    attachments: tuple[Given, ...] = ()
    head: Head | None = None
    traits: ContentTraits | None = None
    late_at: float | None = None
    repairs: tuple[Repair, ...] = ()
    is_dotless: bool = False

    @property
    def envelope(self) -> Envelope:
        return Envelope(self.sender, self.recipients, self.ret, self.envid)

    def expires_at(self, now: float) -> float | None:
        return None if self.expires_in_s is None else now + self.expires_in_s


@frozen
class Held:
    """How long a mail waits before it is first tried, and how long mail is tried in all."""

    wait_s: float
    lifetime_s: float


def with_controls(submission: Submission, given: Controls) -> Submission:
    """Apply the control headers: what they say goes before what the session said."""
    if given == Controls():
        return submission
    return replace(
        submission,
        id=given.id or submission.id,
        account_id=given.account or submission.account_id,
        priority=submission.priority if given.priority is None else given.priority,
        batch_code=given.batch or submission.batch_code,
        due_at=given.deliver_at or submission.due_at,
        expires_in_s=given.expires_in_s or submission.expires_in_s,
        metadata=given.metadata or submission.metadata,
        idempotency_key=given.idempotency_key,
    )


def with_measures(
    submission: Submission, account: Account | None, tenant: Tenant | None, held: Held
) -> Submission:
    """Take how often and how long it is tried from the account, else from the tenant, where the
    mail itself does not say. What is held back first is then tried as long as other mail.
    """
    most, age_s = submission.max_attempts, submission.expires_in_s
    for given in (account, tenant):
        if given is not None:
            most = given.max_attempts if most is None else most
            age_s = given.expires_in_s if age_s is None else age_s
    if submission.expires_in_s is None and held.wait_s > 0:
        age_s = held.wait_s + (held.lifetime_s if age_s is None else age_s)
    if (most, age_s) == (submission.max_attempts, submission.expires_in_s):
        return submission
    return replace(submission, max_attempts=most, expires_in_s=age_s)


def check_sender(submission: Submission, head: Head) -> None:
    """Raise Refused when the credential may not send as the envelope's sender or as an author in
    From.
    """
    patterns = submission.credential.senders if submission.credential else ("*",)
    if "*" in patterns:
        return
    _check_no_author_below(submission.content, head)
    claimed = [submission.sender] if submission.sender else []
    for address in [*claimed, *authors(head)]:
        if not sender_allowed(address, patterns):
            raise Refused(
                f"this login may not send as <{address}>",
                reason="sender not allowed",
                code=550,
                enhanced="5.7.1",
            )


def _check_no_author_below(content: bytes, head: Head) -> None:
    """Raise Refused for a From behind a line that is no field: the header ends there for us, but
    not for every reader.
    """
    end = head.size_bytes
    if not head.fields or content[end : end + 2] in (b"", b"\r\n"):
        return
    below = content[end : end + BELOW_MAX_BYTES].partition(b"\r\n\r\n")[0]
    if _AUTHOR.search(below):
        raise ContentRefused("From stands behind a broken line of the header", enhanced="5.6.0")


def is_header_safe(text: str) -> bool:
    return text.isascii() and text.isprintable()


def authors(head: Head) -> list[str]:
    """Return the addresses in every From field (RFC 5322 §3.6.2 allows several authors). Raises
    Refused.
    """
    fields = head.all("From")
    if sum(map(len, fields)) > AUTHORS_MAX_CHARS:
        raise ContentRefused("From is too long", enhanced="5.6.0")
    return [box.address for field in fields for box in mailbox_list(field)]


def described(head: Head, submission: Submission) -> str:
    """Describe a mail that came as bytes, in the words of add-messages."""
    summary = display(head)
    return json.dumps(
        {
            "from": summary.sender or submission.sender,
            "to": [r.address for r in submission.recipients],
            "cc": summary.cc,
            "subject": summary.subject,
        }
    )
