"""The REST API on a port or a Unix socket of the loop that runs already.

Sanic's own runner forks and takes the signals; this one is a part among others, which is started and stopped.
"""

import asyncio
import os
import socket
from pathlib import Path

from sanic.server import AsyncioServer

from admin_api.app import App
from admin_api.protocol import BoundedProtocol
from admin_api.uncut import Uncut

POLL_S = 0.02
BACKLOG = 512


class HttpServer:
    def __init__(self, app: App, uncut: Uncut) -> None:
        self._app = app
        self._uncut = uncut
        self._servers: list[AsyncioServer] = []
        self._paths: list[Path] = []

    @property
    def address(self) -> tuple[str, int]:
        """The address of the first port, as it was bound."""
        host, port = self._servers[0].server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def start(self, host: str, port: int) -> None:
        """Listen on a port; 0 takes a free one. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        await self._serve(listener)

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user may open. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        self._paths.append(path)
        await self._serve(listener)

    async def stop(self, budget_s: float) -> None:
        """Take no more; let what runs finish, at most `budget_s`; close what is idle at once."""
        deadline = asyncio.get_running_loop().time() + budget_s
        for server in self._servers:
            server.server.close()
        while self._close_idle() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_S)
        for server in self._servers:
            for connection in list(server.connections):
                connection.abort()
        await self._uncut.drain(max(0.0, deadline - asyncio.get_running_loop().time()))
        for path in self._paths:
            path.unlink(missing_ok=True)

    async def _serve(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        server = await self._app.create_server(
            sock=listener,
            protocol=BoundedProtocol,
            backlog=BACKLOG,
            return_asyncio_server=True,
            asyncio_server_kwargs={"start_serving": False},
        )
        if server is None:
            raise RuntimeError("Sanic returned no server")
        if not self._app.state.is_started:
            await server.startup()
        await server.start_serving()
        self._servers.append(server)

    def _close_idle(self) -> bool:
        """Close what waits for a next request; return whether anything is left."""
        for server in self._servers:
            for connection in list(server.connections):
                connection.close_if_idle()
        return any(server.connections for server in self._servers)
