"""How many bytes may be in memory at once, shared fairly between those who want them.

A request that is larger than all there is gets its turn when nothing else is held. Half is the most
that one owner holds, unless it holds nothing else, so a slow one cannot starve the others. Who asks
first is served first, but an owner at its half is passed over.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    owner: str
    size_bytes: int
    granted: "asyncio.Future[None]"


class Budget:
    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._held_bytes = 0
        self._held_by: Counter[str] = Counter()
        self._line: list[_Request] = []

    @asynccontextmanager
    async def hold(self, owner: str, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and hold it inside the block."""
        request = _Request(owner, size_bytes, asyncio.get_running_loop().create_future())
        self._line.append(request)
        self._grant()
        try:
            await request.granted
        except asyncio.CancelledError:
            self._withdraw(request)
            raise
        try:
            yield
        finally:
            self._give_back(request)

    def _grant(self) -> None:
        """Serve who waits, in order, until there is no room for the next."""
        for request in list(self._line):
            is_first_of_owner = not self._held_by[request.owner]
            owned = self._held_by[request.owner] + request.size_bytes
            if owned > self._total_bytes // 2 and not is_first_of_owner:
                continue
            if self._held_bytes and self._held_bytes + request.size_bytes > self._total_bytes:
                return
            self._line.remove(request)
            self._held_bytes += request.size_bytes
            self._held_by[request.owner] += request.size_bytes
            request.granted.set_result(None)

    def _withdraw(self, request: _Request) -> None:
        if request in self._line:
            self._line.remove(request)
            self._grant()
        else:
            self._give_back(request)

    def _give_back(self, request: _Request) -> None:
        self._held_bytes -= request.size_bytes
        self._held_by[request.owner] -= request.size_bytes
        if not self._held_by[request.owner]:
            del self._held_by[request.owner]
        self._grant()
