"""The REST API on a port or a Unix socket of the loop that runs already.

Sanic's own runner forks and takes the signals; this one is a part among others, which is started
and stopped.
"""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

from admin_api.app import App
from admin_api.local import address_of
from admin_api.protocol import BoundedProtocol
from admin_api.uncut import Uncut

BACKLOG = 512


class HttpServer:
    def __init__(self, app: App, uncut: Uncut) -> None:
        self._app = app
        self._uncut = uncut
        # Sanic's AsyncioServer, which has no types.
        self._servers: list[Any] = []
        self._listeners: list[socket.socket] = []
        self._paths: list[Path] = []

    @property
    def address(self) -> tuple[str, int]:
        """The address of the first port, as it was bound."""
        host, port = self._listeners[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def has_port(self) -> bool:
        return bool(self._listeners) and self._listeners[0].family != socket.AF_UNIX

    @property
    def connection_count(self) -> int:
        return len(self._connections())

    @property
    def busy_count(self) -> int:
        """How many connections have a request under way."""
        return sum(connection.is_busy for connection in self._connections())

    async def start(self, host: str, port: int, *, shares_port: bool = False) -> None:
        """Listen on a port; 0 takes a free one. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, reuse_port=shares_port
        )
        await self._serve(listener)

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user may open. Raises OSError."""
        await self._serve(private_socket(path))
        self._paths.append(path)

    async def stop(self, budget_s: float) -> None:
        """Take no more; let what runs finish, at most `budget_s`; close what is idle at once."""
        began_at = time.monotonic()
        self._app.config.KEEP_ALIVE = False
        for server in self._servers:
            server.server.close()
        running = [task for c in self._connections() if (task := c.finish())]
        if running:
            await asyncio.wait(running, timeout=budget_s)
        for connection in self._connections():
            # One that is closing sends the rest of its answer first, for a second at most.
            if connection.transport and not connection.transport.is_closing():
                connection.abort()  # type: ignore[no-untyped-call] # Sanic
        await self._uncut.drain(max(0.0, budget_s - (time.monotonic() - began_at)))
        for path in self._paths:
            path.unlink(missing_ok=True)

    async def _serve(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        server: Any = await self._app.create_server(
            sock=listener,
            protocol=BoundedProtocol,
            backlog=BACKLOG,
            return_asyncio_server=True,
            asyncio_server_kwargs={"start_serving": False},
        )
        if not self._app.state.is_started:
            await server.startup()
        await server.start_serving()
        self._servers.append(server)
        self._listeners.append(listener)

    def _connections(self) -> list[BoundedProtocol]:
        return [connection for server in self._servers for connection in server.connections]


def private_socket(path: Path) -> socket.socket:
    """Bind a Unix socket that only this user may open, in place of one that was left behind."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with address_of(path) as address:
            listener.bind(address)
    finally:
        os.umask(mask)
    return listener
