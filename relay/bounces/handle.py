"""What a mail that came back does: decided by the mailbox it is in, and by what it is.

A receipt counts in the mailbox of a certified account only. In a tenant's mailbox a bounce can
speak of that tenant's mail, in the instance's of any; that it is about a mail of ours at all is
verified where it is recorded.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.bounces.question import Reading
from relay.formats.bounce.model import Kind, Returned
from relay.metrics import Metrics
from relay.store import bounces, pec
from relay.store.bounces import Recorded, Source
from relay.store.database import Script
from relay.store.mailbox import Mailbox
from relay.store.mailboxes import Done
from relay.store.pec import Arrived, Filed, Found
from relay.store.spool import Spool

# A bounce of these did something, or had done it before.
OURS = frozenset({"hard", "soft", "block", "complaint", "duplicate"})


@dataclass(frozen=True, slots=True)
class Effect:
    """What to write for a mail, and what to do with the result once that is committed."""

    script: Callable[[], Script[Done[Any]]]
    committed: Callable[[Any], Awaitable[None]]


class Handler:
    """`keys` are those that return addresses are signed with."""

    def __init__(self, spool: Spool, metrics: Metrics, keys: tuple[bytes, ...]) -> None:
        self._spool = spool
        self._metrics = metrics
        self._keys = keys

    def effect(self, mailbox: Mailbox, reading: Reading, raw: bytes) -> Effect | None:
        """Return what a mail does; None for one that does not concern us."""
        if reading.receipt is not None and mailbox.is_pec:
            now, seq = self._spool.now(), self._spool.next_seq(pec.MOST_EVENTS)
            arrived = Arrived(*mailbox.key, reading.receipt, raw, now, seq)
            return Effect(partial(file_receipt, arrived), partial(self._tell, arrived))
        if reading.returned is not None and is_about_mail(reading.returned):
            now, seq = self._spool.now(), self._spool.next_seq(bounces.MOST_EVENTS)
            source = Source(mailbox.tenant_id, self._keys, self._spool.postmaster)
            script = partial(record_bounce, reading.returned, source, now, seq)
            return Effect(script, self._announce)
        return None

    async def _announce(self, recorded: Recorded) -> None:
        await bounces.announce(self._spool.database, self._metrics, recorded)
        for notice in recorded.notices:
            self._spool.announce(notice)

    async def _tell(self, arrived: Arrived, filed: Filed) -> None:
        pec.tell(arrived, filed, self._metrics)


def file_receipt(arrived: Arrived) -> Script[Done[Filed]]:
    filed = yield from pec.record_receipt(arrived)
    return Done(filed, is_ours=filed.found is not Found.UNKNOWN)


def record_bounce(
    returned: Returned, source: Source, now: float, seq: int
) -> Script[Done[Recorded]]:
    recorded = yield from bounces.record(returned, source, now, seq)
    return Done(recorded, is_ours=recorded.verdict in OURS)


def is_about_mail(returned: Returned) -> bool:
    """Say whether a mail tells of one that was sent: most mail in a mailbox does not."""
    return returned.is_complaint or returned.kind is not Kind.NONE or bool(returned.recipients)
