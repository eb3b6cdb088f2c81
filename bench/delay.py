"""A way that is long: a TCP proxy that brings every byte late, as the distance to a server would.

    python -m bench.delay PORT TO_PORT ROUND_TRIP_MS

Each direction takes half of the round trip, and so does the first packet of a connection. The
order stays, and nothing is lost or made slower.
"""

import asyncio
import sys
from typing import cast

import uvloop


class Way(asyncio.Protocol):
    """One end of a connection; what comes here leaves at the other end, later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.other: Way | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._delay_s, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._loop.call_later(self._delay_s, self._pass_on, b"")

    def join(self, other: "Way") -> None:
        """Know the other end; what came before goes there now."""
        self.other = other
        for data in self._early:
            other.send(data)

    def send(self, data: bytes) -> None:
        """Write it; nothing means the end."""
        assert self._transport is not None
        if self._transport.is_closing():
            return  # this end hung up while it was on its way
        if data:
            self._transport.write(data)
        else:
            self._transport.close()

    def _pass_on(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.send(data)


class Door(Way):
    """The end where a client comes in: the connection beyond is opened for it."""

    def __init__(self, delay_s: float, to_port: int) -> None:
        super().__init__(delay_s)
        self._to_port = to_port
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        await asyncio.sleep(self._delay_s)  # SYN and its answer; the greeting comes behind
        _, beyond = await self._loop.create_connection(
            lambda: Way(self._delay_s), "127.0.0.1", self._to_port
        )
        beyond.join(self)
        self.join(beyond)


async def run(port: int, to_port: int, round_trip_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Door(round_trip_s / 2, to_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
