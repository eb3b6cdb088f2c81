"""A wire with faults between a client and a server: slow, late, cut. A TCP proxy that never looks
at what it carries.
"""

import asyncio
from contextlib import suppress
from types import TracebackType

BLOCK_BYTES = 16 * 1024


class Wire:
    """`delay_s` is what each block needs to pass; `rate_bytes_s` is how many pass in a second, 0:
    as they come.
    """

    def __init__(self, to_port: int, *, delay_s: float = 0.0, rate_bytes_s: int = 0) -> None:
        self.delay_s = delay_s
        self.rate_bytes_s = rate_bytes_s
        self.connections = 0
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Wire":
        # Small buffers, so that the one end is as slow as the other.
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=4 * BLOCK_BYTES
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """End every connection in the middle of whatever it carries."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        with suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            try:
                await asyncio.gather(
                    self._carry(reader, there_writer), self._carry(there_reader, writer)
                )
            finally:
                there_writer.transport.abort()
        self._tasks.discard(task)
        writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while block := await source.read(BLOCK_BYTES):
            pause_s = len(block) / self.rate_bytes_s if self.rate_bytes_s else 0.0
            await asyncio.sleep(self.delay_s + pause_s)
            sink.write(block)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
