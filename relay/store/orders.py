"""Orders for mail that is stored, given by the ids of its messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.store.batches import announce
from relay.store.database import Script
from relay.store.queue.orders import Call, Obeyed, Order, Verdict, obey
from relay.store.spool import Spool

__all__ = ["Order", "OrderStore", "Verdict"]

# Events are numbered inside their message: it has no more recipients than this.
MOST_EVENTS = 1000

BY_NAME = """
SELECT pk, id FROM messages WHERE tenant_id = $1 AND id {among:$2}
"""
BY_PK = """
SELECT pk, id FROM messages WHERE tenant_id = $1 AND pk {among:$2}
"""


@dataclass(frozen=True, slots=True)
class Names:
    """Messages as a client named them, by their own id or by pk."""

    pks: Mapping[str, str]
    unknown: tuple[str, ...]


class OrderStore:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def resolve(self, tenant_id: str, names: Sequence[str]) -> Names:
        """Find which messages of a tenant are meant; an id goes before a pk."""
        asked = list(dict.fromkeys(names))
        fetch = self._spool.database.fetch
        pks = {row["pk"]: row["pk"] for row in await fetch(BY_PK, tenant_id, asked)}
        pks |= {row["id"]: row["pk"] for row in await fetch(BY_NAME, tenant_id, asked)}
        return Names(pks, tuple(name for name in asked if name not in pks))

    async def give(
        self, order: Order, tenant_id: str, pks: Sequence[str], *, is_dry: bool = False
    ) -> list[Verdict]:
        """Carry out an order on a portion of messages in one transaction; one verdict for each that
        exists.
        """
        spool, portion = self._spool, sorted(set(pks))

        def script() -> Script[Obeyed]:
            seq = spool.next_seq(MOST_EVENTS)
            return obey(Call(order, tenant_id, portion, seq, spool.now(), is_dry))

        verdicts, lanes = await spool.database.write(script)
        await announce(spool.database, lanes)
        return verdicts
