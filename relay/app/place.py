"""Which place of its instance a node has."""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from relay.errors import StoreLocked

NODES_PER_INSTANCE = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in its instance: an id that survives a restart, held by a lock while the node
    lives. `socket` is where it is spoken to on its own machine: nobody else has it meanwhile.
    """

    node_id: str
    lock: int
    socket: Path

    def leave(self) -> None:
        os.close(self.lock)


def take_place(folder: Path) -> Place:
    """Take the first free place of this instance folder."""
    base = folder / "node_id"
    if not base.exists():
        base.write_text(secrets.token_hex(8))
    for number in range(NODES_PER_INSTANCE):
        lock = os.open(folder / f"node.{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            socket = folder / (f"api.{number}.sock" if number else "api.sock")
            return Place(f"{base.read_text().strip()}.{number}", lock, socket)
    raise StoreLocked(f"{folder}: {NODES_PER_INSTANCE} nodes run in this instance already")
