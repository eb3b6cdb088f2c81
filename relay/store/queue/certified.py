"""Certified mail (PEC) left: from now on a receipt is awaited for each recipient.

Mail that was routed turns out to be certified only here, by the account that it left by.
"""

from collections.abc import Sequence

from relay.store.database import Each, Script

AWAIT = """
INSERT INTO pec_waits (message_pk, n, tenant_id, account_id, sent_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (message_pk, n) DO UPDATE SET account_id = $4, sent_at = $5
"""
MARK = "UPDATE messages SET is_pec = $2 WHERE pk = $1"

# Message, recipient, tenant, account, and when it was sent.
Wait = tuple[str, int, str, str, float]


def await_receipts(waits: Sequence[Wait]) -> Script[None]:
    yield Each(AWAIT, waits)
    yield Each(MARK, [(pk, True) for pk in sorted({wait[0] for wait in waits})])
