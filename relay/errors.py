"""The errors of Pillarbox.

RelayError
├── Temporary                 try again later: nothing is wrong with what was asked
│   ├── StoreUnavailable      the database does not answer, is read-only, or its disk is full
│   │   ├── StoreFull         no space left: 452 4.3.1 in SMTP, 507 in HTTP
│   │   ├── CommitInDoubt     the answer to a commit was lost: what it wrote may be there
│   │   └── Unwritable        the database works, and yet not for this one thing: others may pass
│   ├── Fenced                this node lost its lease; its work belongs to another node
│   ├── ShuttingDown          this node is stopping
│   ├── Held                  the mail was suspended, held or cancelled before it was begun
│   ├── AttachmentUnavailable the source of a file failed for a moment
│   ├── StorageUnavailable    the storage for large files does not take them, or cannot be reached
│   ├── AccountFault          the upstream cannot be used now: no route, TLS, AUTH refused, 421
│   ├── MailboxFault          the mailbox cannot be read now: no route, TLS, login, what it answers
│   ├── QuotaExceeded         the tenant has too much waiting
│   └── TooManyGuesses        too many failed logins came from there
└── Permanent                 the same request will fail again
    ├── ConfigError           a setting is missing or wrong: exit 78 (EX_CONFIG)
    ├── UnsafeStore           the database would make a 250 a lie, or is of a newer version
    ├── StoreLocked           another process owns this embedded database
    ├── DataRejected          the database refused a value (SQLSTATE class 22 or 23)
    ├── Damaged               what is stored of a mail is not what was accepted
    ├── Unreadable            a mail that cannot be read in bounded time and memory
    ├── AttachmentGone        the source of a file does not have it, or may not be asked for it
    ├── SecretDamaged         a sealed value does not open with any key that we have
    ├── Refused               the mail or its sender is refused by a rule
    │   ├── ContentRefused    its bytes break RFC 5321 or 5322
    │   └── OverQuota         its tenant has given as much as it may for now
    └── NotFound              no such object, or not this tenant's: the two look the same

Temporary or permanent is the class, never the text. Foreign exceptions become one of these in the
module that is the library's home. A `Refused` carries what an SMTP client and a REST client are
told.
"""


class RelayError(Exception):
    """The root of all errors of ours."""


class Temporary(RelayError): ...


class StoreUnavailable(Temporary): ...


class StoreFull(StoreUnavailable): ...


class CommitInDoubt(StoreUnavailable): ...


class Unwritable(StoreUnavailable): ...


class Fenced(Temporary): ...


class ShuttingDown(Temporary): ...


class Held(Temporary): ...


class QuotaExceeded(Temporary): ...


class TooManyGuesses(Temporary):
    """So many logins failed from an address that the next one would wait for too long."""


class StorageUnavailable(Temporary):
    """No file was lost: the mail waits. The text is fit for the client and names no secret."""


class AccountFault(Temporary):
    """The account, not the mail, is at fault; no mail was offered.

    `phase` is connect, tls, ehlo or auth; `code` is the reply code, 0 where there was none; the
    text is printable and names no secret.
    """

    def __init__(self, text: str, *, phase: str, code: int = 0) -> None:
        super().__init__(text)
        self.phase = phase
        self.code = code


class MailboxFault(Temporary): ...


class AttachmentUnavailable(Temporary):
    """The text is fit for the client: it names no address and repeats nothing that was answered."""


class Permanent(RelayError): ...


class AttachmentGone(Permanent):
    """The text is fit for the client, as above."""


class ConfigError(Permanent): ...


class UnsafeStore(Permanent): ...


class StoreLocked(Permanent): ...


class DataRejected(Permanent): ...


class Damaged(Permanent): ...


class SecretDamaged(Permanent): ...


class Unreadable(Permanent): ...


class NotFound(Permanent): ...


class Refused(Permanent):
    """A rule says no.

    `reason` is the REST reject reason (CONTRACT: `missing to`, `sender not allowed`, …), `code` and
    `enhanced` are the SMTP reply code and the enhanced status code (RFC 3463), `str(error)` is a
    text that is fit for the client.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: str = "invalid payload",
        code: int = 550,
        enhanced: str = "5.7.1",
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.code = code
        self.enhanced = enhanced


class ContentRefused(Refused):
    def __init__(self, text: str, *, code: int = 550, enhanced: str = "5.6.11") -> None:
        super().__init__(text, reason="invalid payload", code=code, enhanced=enhanced)


class OverQuota(Refused):
    """The client may come again: 452 in SMTP, `quota exceeded` or 429 in REST."""

    def __init__(self, text: str, *, wait_s: float, enhanced: str) -> None:
        super().__init__(text, reason="quota exceeded", code=452, enhanced=enhanced)
        self.wait_s = wait_s
