"""A mailbox that mail comes back to: the instance's own, or an account's."""

from dataclasses import dataclass, field

from relay.model import Account
from relay.store.instance import BounceMailbox

Key = tuple[str, str]
INSTANCE: Key = ("", "")

TLS_PORT = 993
CLEAR_PORT = 143


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where and how to read. `is_pec`: receipts of certified mail come to it, and stay there."""

    key: Key
    host: str
    port: int
    user: str
    folder: str
    uses_tls: bool
    poll_s: float
    password: str = field(repr=False)
    verify: bool = True
    ca_file: str | None = None
    is_pec: bool = False

    @property
    def source(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.folder}"

    @property
    def tenant_id(self) -> str | None:
        """The tenant whose mail alone it can speak of; None for the instance's own."""
        return self.key[0] or None


def mailbox_of_instance(given: BounceMailbox) -> Mailbox | None:
    if not (given.bounce_enabled and given.bounce_imap_host):
        return None
    return Mailbox(
        key=INSTANCE,
        host=given.bounce_imap_host,
        port=given.bounce_imap_port,
        user=given.bounce_imap_user or "",
        folder=given.bounce_imap_folder,
        uses_tls=given.bounce_imap_ssl,
        poll_s=given.bounce_poll_interval,
        password=given.bounce_imap_password or "",
    )


def mailbox_of_account(account: Account, poll_s: float) -> Mailbox | None:
    """Derive an account's mailbox; where no login is given, that of its SMTP server is meant."""
    if account.imap_host is None:
        return None
    # A password is said in clear only where TLS was turned off by name (RFC 8314 §3).
    uses_tls = account.imap_ssl is not False
    return Mailbox(
        key=account.key,
        host=account.imap_host,
        port=account.imap_port or (TLS_PORT if uses_tls else CLEAR_PORT),
        user=account.imap_user or account.user or "",
        folder=account.imap_folder or "INBOX",
        uses_tls=uses_tls,
        poll_s=poll_s,
        password=account.imap_password or account.password or "",
        verify=account.verify,
        ca_file=account.ca_file,
        is_pec=account.is_pec_account,
    )
