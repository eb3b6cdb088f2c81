"""Which lanes have work in the store, and which of them are to be looked at now."""

import asyncio
from collections.abc import Collection, Iterable


class Lanes:
    """`due`: lanes with work in the store, as far as it is known here. `ready`: those to be looked
    at, in this order.
    """

    def __init__(self) -> None:
        self.due: set[str] = set()
        self.ready: dict[str, None] = {}
        self._wakened = asyncio.Event()

    def notice(self, lanes: Iterable[str]) -> None:
        """Know that these have work, and look at them."""
        for lane in lanes:
            self.due.add(lane)
            self.ready[lane] = None
        self.wake()

    def want(self, lanes: Collection[str]) -> None:
        """Look at those of these lanes that have work: there is room for more of it."""
        few, many = sorted((self.due, lanes), key=len)
        for lane in few:
            if lane in many:
                self.ready[lane] = None
                self.wake()

    def look_again(self, lane: str) -> None:
        """Look at a lane once more in this round."""
        self.ready[lane] = None

    def wake(self) -> None:
        self._wakened.set()

    async def wait(self) -> None:
        await self._wakened.wait()

    def sleep(self) -> None:
        """Have what is noticed from now on wake again."""
        self._wakened.clear()
