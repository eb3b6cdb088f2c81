"""What Sanic's connections lack: an end to slow requests, and a cap on their number.

Sanic's own time-outs count from the last byte, so a request of one byte a second lives for ever.
Here a request must arrive within its deadline plus the time that its size needs at a least pace,
whatever comes in between.
"""

from asyncio import Task, Transport
from time import monotonic

from sanic.exceptions import RequestTimeout
from sanic.http import Stage
from sanic.models.server_types import ConnInfo
from sanic.server.protocols.http_protocol import HttpProtocol

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b'Connection: close\r\nContent-Length: 33\r\n\r\n{"detail":"too many connections"}'
)


class BoundedProtocol(HttpProtocol):
    """A connection of the REST API; its bounds are in the configuration of the app."""

    __slots__ = ("_began_at", "_received_bytes")

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # it is one
        self._began_at = monotonic()
        self._received_bytes = 0
        if len(self.connections) < self.app.config.MAX_CONNECTIONS:
            super().connection_made(transport)  # type: ignore[no-untyped-call] # Sanic
            return
        self.transport = transport
        self.conn_info = ConnInfo(transport, unix=self._unix)  # type: ignore[arg-type] # Sanic
        self.recv_buffer = bytearray()
        transport.write(BUSY)
        transport.close()

    @property
    def is_busy(self) -> bool:
        return self.http is not None and self.http.stage is not Stage.IDLE

    def finish(self) -> Task[None] | None:
        """Close when idle, else with the answer that is due; return what is still running."""
        if not self.close_if_idle() and self.http is not None:
            self.http.keep_alive = False
            task: Task[None] | None = self._task
            return task
        return None

    def data_received(self, data: bytes) -> None:
        if self.http is None or self.http.stage is Stage.IDLE:
            self._began_at = monotonic()
            self._received_bytes = 0
        self._received_bytes += len(data)
        super().data_received(data)

    def check_timeouts(self) -> None:
        if self._task and self._is_too_slow():
            self.http.exception = RequestTimeout("The request came too slowly")
            self._task.cancel()
            return
        super().check_timeouts()  # type: ignore[no-untyped-call] # as above

    def _is_too_slow(self) -> bool:
        """Whether a request is still coming in when it should have been complete."""
        if self.http is None or self.http.stage not in (Stage.REQUEST, Stage.HANDLER):
            return False
        if self.http.stage is Stage.HANDLER and not self.http.request_body:
            return False
        config = self.app.config
        allowed_s = config.REQUEST_DEADLINE_S + self._received_bytes / config.MIN_RATE_BYTES_S
        return bool(monotonic() - self._began_at > allowed_s)
