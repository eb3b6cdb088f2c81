"""A tenant goes, with everything that is its own.

It is made inactive first, so that nothing comes in any more and nothing is begun; its mail goes in
portions, the rest and the tenant itself in the last transaction. What an upstream is being offered
in that moment is waited for. Whoever is interrupted leaves an inactive tenant, and may do it again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from relay.errors import NotFound, Temporary
from relay.store.database import Database, Each, Query, Script
from relay.store.files import end_files
from relay.store.outbox import enrol
from relay.store.retention import DROP_ALL

PORTION = 500
WAIT_S = 10.0
LOOK_EVERY_S = 0.1

COUNTS = """
SELECT
    (SELECT COUNT(*) FROM messages WHERE tenant_id = $1) AS messages,
    (SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND final_at IS NULL) AS queued,
    (SELECT COUNT(*) FROM events WHERE tenant_id = $1 AND report = 'waiting') AS unreported_events,
    (SELECT COUNT(*) FROM accounts WHERE tenant_id = $1) AS accounts,
    (SELECT COUNT(*) FROM credentials WHERE tenant_id = $1) AS credentials,
    (SELECT COUNT(*) FROM receipts WHERE tenant_id = $1) AS receipts
FROM tenants WHERE id = $1
"""
CLOSE = "UPDATE tenants SET active = $2 WHERE id = $1"
PAGE = """
SELECT pk FROM messages m WHERE m.tenant_id = $1 AND NOT EXISTS (
    SELECT 1 FROM recipients r
    WHERE r.message_pk = m.pk AND r.state = 'sending' AND r.begun_at IS NOT NULL)
ORDER BY pk LIMIT $2
"""
LOCK = """
SELECT message_pk, begun_at FROM recipients WHERE message_pk {among:$1}
ORDER BY message_pk, n {for_update}
"""
LEFT = "SELECT pk FROM messages WHERE tenant_id = $1 LIMIT 1"
LOCK_TENANT = "SELECT id FROM tenants WHERE id = $1 {for_update}"
DROPS = (
    # Those of no message: what was rejected, and what was deleted before.
    "DELETE FROM events WHERE tenant_id = $1 AND kind <> 'accepted' AND kind <> 'replaced'",
    "DELETE FROM deleted_messages WHERE tenant_id = $1",
    "DELETE FROM feeds WHERE tenant_id = $1",
    "DELETE FROM idempotency_keys WHERE owner = $1",
    "DELETE FROM limits WHERE tenant_id = $1",
    "DELETE FROM receipts WHERE tenant_id = $1",
    "DELETE FROM pec_waits WHERE tenant_id = $1",
    "DELETE FROM suppressions WHERE tenant_id = $1",
    "DELETE FROM credentials WHERE tenant_id = $1",
    "DELETE FROM mailbox_mails WHERE tenant_id = $1",
    "DELETE FROM mailboxes WHERE tenant_id = $1",
    "DELETE FROM accounts WHERE tenant_id = $1",
    "DELETE FROM api_keys WHERE tenant_id = $1",
    "DELETE FROM tenants WHERE id = $1",
)


class StillSending(Temporary):
    """An upstream is being offered mail of this tenant; the tenant is inactive by now."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a tenant has: numbers by name."""

    counts: Mapping[str, int]

    @property
    def queued(self) -> int:
        return self.counts["queued"]


async def belongings(database: Database, tenant_id: str) -> Belongings:
    """Count what would be destroyed with a tenant. Raises NotFound."""
    rows = await database.fetch(COUNTS, tenant_id)
    if not rows:
        raise NotFound("no such tenant")
    names = ("messages", "queued", "unreported_events", "accounts", "credentials", "receipts")
    return Belongings({name: rows[0][name] for name in names})


async def destroy(database: Database, tenant_id: str) -> None:
    """Destroy a tenant. Raises StillSending when what is being sent does not end in time."""
    await database.write(partial(close, tenant_id))
    await database.signal("tenant", tenant_id)
    looks_left = int(WAIT_S / LOOK_EVERY_S)
    while (dropped := await database.write(partial(drop_portion, tenant_id))) is not None:
        if dropped:
            continue
        if not looks_left:
            raise StillSending("mail of this tenant is being sent")
        looks_left -= 1
        await asyncio.sleep(LOOK_EVERY_S)
    await database.signal("tenant", tenant_id)


def close(tenant_id: str) -> Script[None]:
    yield Query(CLOSE, (tenant_id, False))


def drop_portion(tenant_id: str) -> Script[int | None]:
    """Take out the next mails and return how many; None when all is gone, the tenant too."""
    yield Query(LOCK_TENANT, (tenant_id,))
    dropped = yield from drop_mails(tenant_id)
    if (yield Query(LEFT, (tenant_id,))):
        return dropped
    yield from enrol(tenant_id, False)
    yield from end_files(tenant_id)
    for sql in DROPS:
        yield Query(sql, (tenant_id,))
    return None


def drop_mails(tenant_id: str) -> Script[int]:
    pks = [row["pk"] for row in (yield Query(PAGE, (tenant_id, PORTION)))]
    # What was begun since that was read is seen under the lock.
    rows = yield Query(LOCK, (pks,))
    begun = {row["message_pk"] for row in rows if row["begun_at"] is not None}
    keys = [(pk,) for pk in pks if pk not in begun]
    for sql in DROP_ALL:
        yield Each(sql, keys)
    return len(keys)
