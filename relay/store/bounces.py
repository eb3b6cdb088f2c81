"""What a bounce does."""

from dataclasses import dataclass

from relay.formats.bounce.model import Returned
from relay.metrics import Metrics
from relay.store.database import Database, Script

# Events of one call are numbered from `seq`: ask the spool for so many numbers.
MOST_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """The mailbox that a bounce came to: a tenant's, or the instance's (None), where mail of every
    tenant comes back. `keys` are `Keyring.derived(verp.PURPOSE)`.
    """

    tenant_id: str | None
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a bounce."""

    verdict: str


def record(returned: Returned, source: Source, now: float, seq: int) -> Script[Recorded]:
    """Write what a bounce says into the transaction of the caller."""


async def announce(database: Database, metrics: Metrics, recorded: Recorded) -> None:
    """Count, log and signal what was recorded; call it after the commit."""
