"""The part of a node that reads mailboxes, built from the settings."""

from relay.app.stores import Stores
from relay.bounces.handle import Handler
from relay.bounces.imap import ImapLimits
from relay.bounces.poller import Poller, PollerSettings
from relay.bounces.reader import Reader
from relay.bounces.visit import Desk, Handled, VisitSettings
from relay.config import Config
from relay.crypto import Keyring
from relay.formats import verp
from relay.metrics import Metrics
from relay.store.retention import DAY_S
from relay.store.spool import Spool

READING_PROCESSES = 2
# That mailboxes were changed is told; what was not heard is seen after so many polls.
LOOK_POLLS = 5
# A mail is known again for as long as a mailbox that is counted anew is read back, and more.
REMEMBERED_LOOKS = 2


def build_poller(
    config: Config, spool: Spool, stores: Stores, metrics: Metrics, keyring: Keyring
) -> Poller:
    desk = Desk(
        stores.mailboxes,
        Reader(processes=READING_PROCESSES, timeout_s=config.mailboxes.read_timeout_s),
        Handler(spool, metrics, keyring.derived(verp.PURPOSE)),
        metrics,
        visit_settings(config),
    )
    return Poller(spool, desk, poller_settings(config))


def visit_settings(config: Config) -> VisitSettings:
    mailboxes = config.mailboxes
    return VisitSettings(
        handled=Handled(mailboxes.handled),
        handled_folder=mailboxes.handled_folder,
        aside_folder=mailboxes.aside_folder,
        max_bytes=mailboxes.max_bytes,
        max_receipt_bytes=mailboxes.max_receipt_bytes,
        first_look_s=mailboxes.first_look_days * DAY_S,
    )


def poller_settings(config: Config) -> PollerSettings:
    mailboxes = config.mailboxes
    first_rest_s, longest_rest_s = mailboxes.rest_s
    return PollerSettings(
        poll_s=mailboxes.poll_s,
        look_s=LOOK_POLLS * config.dispatch.poll_s,
        max_mailboxes=mailboxes.max_mailboxes,
        first_rest_s=first_rest_s,
        longest_rest_s=longest_rest_s,
        limits=ImapLimits(mailboxes.connect_timeout_s, mailboxes.command_timeout_s),
    )


def remembered_s(config: Config) -> float:
    """Return for how long a mail that was acted on is known again."""
    return REMEMBERED_LOOKS * config.mailboxes.first_look_days * DAY_S
