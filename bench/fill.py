"""What a long queue is made of (see `tests.faults.filling`): a mail, and a queue to put it into."""

import time

from bench.load import HEADER, LINE
from bench.pillarbox import ACCOUNT, TENANT
from relay.model import (
    ContentTraits,
    Envelope,
    Ingress,
    NewMail,
    Priority,
    Recipient,
    lane_of,
    new_pk,
)
from relay.store.database import Database
from relay.store.spool import Spool

LANE = lane_of(TENANT, ACCOUNT, "bench.test")


def original(now: float, size_bytes: int) -> NewMail:
    content = HEADER + LINE * max(1, (size_bytes - len(HEADER)) // len(LINE))
    pk = new_pk(now)
    return NewMail(
        pk=pk,
        id=pk,
        tenant_id=TENANT,
        account_id=ACCOUNT,
        lane=LANE,
        priority=Priority.MEDIUM,
        envelope=Envelope("app@bench.test", (Recipient(0, "bob@bench.test"),)),
        content=content,
        traits=ContentTraits(longest_line=len(LINE) - 2),
        ingress=Ingress.SMTP,
        accepted_at=now,
        id_given=False,
    )


def spool_of(database: Database) -> Spool:
    """Open a queue as a node of its own, with nobody who sends."""
    name = f"bench-{time.monotonic_ns()}"
    return Spool(database, node_id=name, lease_s=600, on_commit=lambda _seconds, _items: None)
