"""One login at a time for an account: who waits for the turn and sees another refused does not try.

Connections of an account are opened several at once; three wrong logins in a row lock many accounts
elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from relay.errors import AccountFault


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.refused: AccountFault | None = None


class Logins:
    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}

    async def take(self, key: Hashable, log_in: Callable[[], Awaitable[None]]) -> None:
        """Log in when it is our turn. Raises the AccountFault of `log_in`, or of who had the turn
        before.
        """
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                await _in_turn(turn, log_in)
        finally:
            turn.users -= 1
            if not turn.users:
                # Who comes later tries anew.
                del self._turns[key]


async def _in_turn(turn: _Turn, log_in: Callable[[], Awaitable[None]]) -> None:
    if turn.refused is not None:
        raise _again(turn.refused)
    try:
        await log_in()
    except AccountFault as fault:
        turn.refused = _again(fault)
        raise


def _again(fault: AccountFault) -> AccountFault:
    return AccountFault(str(fault), phase=fault.phase, code=fault.code)
