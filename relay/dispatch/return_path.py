"""Where bounces of a mail come back to: the signed address that takes the place of its sender.

A tenant's `bounce_return_path` goes before the instance's. The sender stays as it is where it is
the null sender (a bounce must not bounce, RFC 5321 §4.5.5), where the client named it itself, where
the account puts its own in its place, and where the account is one of certified mail, which takes
none but its own.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from relay.errors import Refused
from relay.formats import verp
from relay.formats.verp import Reference, ReturnPath
from relay.model import Account, Delivery
from relay.store.database import Database
from relay.store.directory import Directory, Shelf
from relay.store.instance import TOPIC, InstanceStore


class ReturnPaths:
    def __init__(
        self,
        database: Database,
        directory: Directory,
        instance: InstanceStore,
        key: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._instance = instance
        self._key = key
        self._of_instance: Shelf[str | None] = Shelf(self._read, clock)
        database.on_signal(self._on_signal)

    async def readdressed(self, delivery: Delivery, account: Account) -> Delivery:
        """Return a mail as it is offered to this account. Where it is offered for one recipient
        alone, its address names the recipient too.
        """
        path = await self._path(delivery, account)
        if path is None:
            return delivery
        alone = delivery.pending[0].n if len(delivery.pending) == 1 else None
        sender = verp.signed(path, Reference(delivery.pk, alone), self._key)
        return replace(delivery, sender=sender)

    async def _path(self, delivery: Delivery, account: Account) -> ReturnPath | None:
        if not delivery.sender or delivery.keeps_sender:
            return None
        if account.rewrite_from or account.is_pec_account:
            return None
        tenant = await self._directory.tenant(delivery.tenant_id)
        text = (tenant and tenant.bounce_return_path) or await self._of_instance.find("")
        return usable(text) if text else None

    async def _read(self, _name: str) -> str | None:
        return (await self._instance.read()).bounce.bounce_return_path

    def _on_signal(self, topic: str, _payload: str) -> None:
        if topic == TOPIC:
            self._of_instance.clear()


@lru_cache(maxsize=1024)
def usable(text: str) -> ReturnPath | None:
    """Return the path that a setting means; None where it was stored before it was checked."""
    try:
        return verp.return_path(text)
    except Refused:
        return None
