"""Names to addresses, so that a name for which nobody answers holds up only who asks for it.

The loop's own resolver has a few threads for all names (uvloop: two), and a look-up that hangs
keeps its thread for as long as the system tries, whoever gave up waiting meanwhile. Promises:

- Each name is looked up once at a time, in a thread of its own, for all who ask; so many names at
  once.
- What was found serves for a while; when the name servers do not answer, the last that they said
  serves on (RFC 8767), but not once they say that there is no such name.

The end of the process waits for no look-up.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

FRESH_S = 30.0
STALE_S = 3600.0
PATIENCE_S = 2.0
NAMES_KEPT = 1000
NAMES_AT_ONCE = 64

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, as the socket calls want it."""

    family: int
    place: tuple[str | int | bytes, ...]


@dataclass(frozen=True, slots=True)
class Known:
    addresses: tuple[Address, ...]
    since: float


LookUp = Callable[[str, int], Sequence[Address]]


def ask_system(host: str, port: int, flags: int = 0) -> Sequence[Address]:
    """Ask the system's resolver, which may take long. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [Address(family, place) for family, _, _, _, place in found]


def literal(host: str, port: int) -> Sequence[Address]:
    """Return what an address says of itself, nothing for a name; nobody is asked."""
    try:
        return ask_system(host, port, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ()


class Names:
    def __init__(
        self, look_up: LookUp = ask_system, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[Place, Known] = {}
        self._asked: dict[Place, asyncio.Future[Known]] = {}
        self._free = asyncio.Semaphore(NAMES_AT_ONCE)

    async def find(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of a host, those to try first in front.

        Raises OSError where there are none or nobody answers.
        """
        if itself := literal(host, port):
            return itself
        known = self._known.get((host, port))
        age_s = self._clock() - known.since if known else STALE_S
        if known and age_s < FRESH_S:
            return known.addresses
        asked = self._ask((host, port))
        if known is None or age_s >= STALE_S:
            return (await asyncio.shield(asked)).addresses
        return (await answer_or(asked, known)).addresses

    def _ask(self, place: Place) -> "asyncio.Future[Known]":
        if place not in self._asked:
            asked = asyncio.ensure_future(self._answer(place))
            self._asked[place] = asked
            asked.add_done_callback(lambda done: self._keep(place, done))
        return self._asked[place]

    async def _answer(self, place: Place) -> Known:
        async with self._free:
            addresses = await in_thread(lambda: tuple(self._look_up(*place)))
        return Known(addresses, self._clock())

    def _keep(self, place: Place, done: "asyncio.Future[Known]") -> None:
        del self._asked[place]
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or (error and not is_denial(error)):
            return
        self._known.pop(place, None)
        if error is None:
            self._known[place] = done.result()
            if len(self._known) > NAMES_KEPT:
                del self._known[next(iter(self._known))]


async def answer_or(asked: Awaitable[Known], known: Known) -> Known:
    """Return the answer, or what is known already where none comes soon."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(asked)
    except (OSError, UnicodeError) as error:
        # TimeoutError is an OSError too.
        if is_denial(error):
            raise
        return known


def is_denial(error: BaseException) -> bool:
    """Say whether the name servers said that there is no such name."""
    nameless = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    return isinstance(error, UnicodeError) or (
        isinstance(error, socket.gaierror) and error.errno in nameless
    )


def in_thread(work: Callable[[], tuple[Address, ...]]) -> "asyncio.Future[tuple[Address, ...]]":
    """Do it in a thread for which the end of the process does not wait."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[Address, ...]] = loop.create_future()

    def tell(addresses: tuple[Address, ...], error: Exception | None) -> None:
        if answer.done():
            return
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(addresses)

    def run() -> None:
        addresses: tuple[Address, ...] = ()
        failure = None
        try:
            addresses = work()
        except (OSError, UnicodeError) as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, addresses, failure)

    threading.Thread(target=run, name="look-up", daemon=True).start()
    return answer
