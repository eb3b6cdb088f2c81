"""What became of mail whose commit was not answered: the database knows, once it answers again.

Promises: mail that is found was accepted, so its client is told so and does not give it again;
mail that is not there was not accepted. Only where the database stays away is it left in doubt
(RFC 1047 tells of the same doubt at the other end).
"""

import asyncio
import time
from collections.abc import Sequence

from relay.errors import CommitInDoubt, StoreUnavailable
from relay.model import NewMail
from relay.store.database import Database
from relay.store.queue.arrival import Accepted

# Shorter than a client waits (RFC 5321 §4.5.3.2.6), longer than a server takes to start again.
PATIENCE_S = 5.0
EVERY_S = 0.25

STORED = "SELECT pk FROM messages WHERE pk {among:$1}"


async def recalled(database: Database, mails: Sequence[NewMail]) -> list[Accepted]:
    """Return the mails as accepted. Raises CommitInDoubt where that cannot be known, or is so of
    some only (what became of the others, nobody remembers), StoreUnavailable where none is there.
    """
    stored = await _stored(database, [mail.pk for mail in mails])
    if not stored:
        raise StoreUnavailable("the commit was not done")
    if len(stored) < len(mails):
        raise CommitInDoubt("the answer to a commit was lost")
    return [Accepted(mail.pk) for mail in mails]


async def _stored(database: Database, pks: Sequence[str]) -> set[str]:
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return {row["pk"] for row in await database.fetch(STORED, pks)}
        except (StoreUnavailable, TimeoutError) as error:
            if time.monotonic() >= ends_at:
                raise CommitInDoubt("the answer to a commit was lost") from error
            await asyncio.sleep(EVERY_S)
