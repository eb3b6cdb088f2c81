"""One login at a time for an account: who waits for the turn and sees another refused does not try.

Connections of an account are opened several at once; three wrong logins in a row lock many accounts
elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakValueDictionary

from relay.errors import AccountFault


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.refused: AccountFault | None = None


class Logins:
    def __init__(self) -> None:
        # A turn lives as long as somebody logs in or waits for it.
        self._turns: WeakValueDictionary[Hashable, _Turn] = WeakValueDictionary()

    async def take(self, key: Hashable, log_in: Callable[[], Awaitable[None]]) -> None:
        """Log in when it is our turn. Raises the AccountFault of `log_in`, or of who had the turn
        before.
        """
        turn = self._turns.setdefault(key, _Turn())
        async with turn.lock:
            if turn.refused is not None:
                raise AccountFault(
                    str(turn.refused), phase=turn.refused.phase, code=turn.refused.code
                )
            try:
                await log_in()
            except AccountFault as fault:
                turn.refused = fault
                raise
