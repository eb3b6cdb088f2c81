"""The local socket of an instance: whoever may open it is its operator, and needs no token.

The socket is a file of the instance folder that only its owner may open (0600 in 0700); the system
says besides who is at the other end, and only the owner and root are heard.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_ADDRESS = 100  # sun_path has 104 to 108 bytes
_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of socket(7)
_ROOT = 0


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Give an address for a socket's path, also for one that is longer than an address may be."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_operator(connection: socket.socket | None) -> bool:
    """Say whether a connection came over the local socket, from its owner or from root."""
    if connection is None or connection.family != socket.AF_UNIX:
        return False
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # no Linux: the mode of the file alone decides who could connect
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(credentials)
    return uid in (_ROOT, os.geteuid())
