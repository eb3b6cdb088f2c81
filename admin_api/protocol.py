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

from admin_api.strict_http import StrictHttp

CLOSE_AFTER_S = 0.5
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b'Connection: close\r\nContent-Length: 33\r\n\r\n{"detail":"too many connections"}'
)


class BoundedProtocol(HttpProtocol):
    """A connection of the REST API; its bounds are in the configuration of the app."""

    HTTP_CLASS = StrictHttp
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
        if not self._is_receiving():
            self._began_at = monotonic()
            self._received_bytes = 0
        self._received_bytes += len(data)
        super().data_received(data)

    def check_timeouts(self) -> None:
        if not (self._task and self._is_receiving() and self._is_too_slow()):
            super().check_timeouts()  # type: ignore[no-untyped-call] # as above
            return
        if self.http.stage in (Stage.REQUEST, Stage.HANDLER):
            self.http.exception = RequestTimeout("The request came too slowly")
            self._task.cancel()
        # Sanic would read what is left of the body first, at the pace of who sends it.
        self._callback_check_timeouts = self.loop.call_later(CLOSE_AFTER_S, self.close)

    def _is_receiving(self) -> bool:
        """Whether a request has begun to come in and is not complete, be it answered or not."""
        if self.http is None:
            return False
        is_head = self.http.stage is Stage.REQUEST
        return is_head or bool(getattr(self.http, "request_body", None))

    def _is_too_slow(self) -> bool:
        config = self.app.config
        allowed_s = config.REQUEST_DEADLINE_S + self._received_bytes / config.MIN_RATE_BYTES_S
        return bool(monotonic() - self._began_at > allowed_s)
