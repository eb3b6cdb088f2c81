"""The REST API of an instance that does not run, served for one command in a thread of its process.

The node takes its place and the lock of its database like any other, stores and shows, and sends
nothing. So a command has one way to an instance, whether it runs or not.
"""

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cli.loading import load
from cli.running import RunningNode
from relay.app import Node
from relay.config import Config

T = TypeVar("T")


@contextmanager
def standing_by(home: Path, name: str) -> Iterator[Path]:
    """Give the socket of a node that stands by. Raises what `load` and `Node.open` raise."""
    config = load(home, name, {})
    with tempfile.TemporaryDirectory(prefix="pillarbox-") as folder, Loop() as loop:
        socket = Path(folder) / "api.sock"
        node = loop.run(opened(config, socket))
        try:
            yield socket
        finally:
            loop.run(node.stand_down())


async def opened(config: Config, socket: Path) -> RunningNode:
    node = await Node.open(config)
    try:
        running = RunningNode(node)
        await running.stand_by(socket)
        return running
    except BaseException:
        await node.close()
        raise


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Loop":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end, and return or raise what it does."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
