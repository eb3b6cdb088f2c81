"""Who is connected, what they are having stored, and how it ends.

Promises: no more connections at once than allowed, in all and from one address (loopback has no
bound of its own: all applications of this machine share it); what a client handed over is stored
even when the client drops; at shutdown those who are silent go at once and those who are in the
middle of a mail get the budget.
"""

import asyncio
import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Any, Protocol


class Guest(Protocol):
    """A connection, as it is seen here."""

    peer_ip: str

    def dismiss(self) -> None:
        """Say goodbye as soon as nothing is under way."""
        ...

    def cut(self) -> None:
        """Close now, whatever is under way; what is being stored is not part of it."""
        ...


class Connections:
    def __init__(self, most: int, most_per_ip: int) -> None:
        self.is_closing = False
        self._most = most
        self._most_per_ip = most_per_ip
        self._guests: set[Guest] = set()
        self._per_ip: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._guests)

    def add(self, guest: Guest) -> None:
        self._guests.add(guest)
        self._per_ip[guest.peer_ip] += 1

    def remove(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self._per_ip[guest.peer_ip] -= 1
        if not self._per_ip[guest.peer_ip]:
            del self._per_ip[guest.peer_ip]

    def has_room_for(self, guest: Guest) -> bool:
        """Tell whether a guest who was added may stay."""
        if len(self._guests) > self._most:
            return False
        return self._per_ip[guest.peer_ip] <= self._most_per_ip or is_loopback(guest.peer_ip)

    async def close(self, budget_s: float) -> None:
        """Let everybody go; return when nobody is left and nothing is being stored."""
        self.is_closing = True
        for guest in tuple(self._guests):
            guest.dismiss()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=budget_s)
        for guest in tuple(self._guests):
            guest.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Wait for this task before the end."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@lru_cache(maxsize=1024)
def is_loopback(ip: str) -> bool:
    return bool(ip) and ipaddress.ip_address(ip).is_loopback


def ip_of(peer: object) -> str:
    """Return the address in a peer name; "" for a Unix socket. IPv4 in IPv6 is IPv4."""
    return _unmapped(peer[0]) if isinstance(peer, tuple) else ""


@lru_cache(maxsize=1024)
def _unmapped(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
