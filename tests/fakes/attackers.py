"""What a mail server on the internet has to stand: floods, endless lines, clients that waste time.

They all come by a load balancer at `BALANCER_IP`, which names them all as `ATTACKER_IP`: one
address that is not this machine's own, and so is bound by the caps for one address.
"""

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from tests.scenarios.raw_client import Raw, client

BALANCER_IP = "127.0.0.3"
ATTACKER_IP = "192.0.2.66"
PROXY_HEADER = f"PROXY TCP4 {ATTACKER_IP} 127.0.0.1 50000 25\r\n".encode()
CHUNK = b"x" * 65_536
MEGABYTE = 1_000_000
RECIPIENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Victim:
    """A door, and the login of somebody who may use it."""

    port: int
    user: str
    password: str

    @property
    def sender(self) -> str:
        return f"{self.user}@acme.test"


@dataclass(slots=True)
class Toll:
    """What an attack came to; `ends` counts the last thing that each client was told, without the
    id of a mail, or "" for those who were told nothing.
    """

    connections: int = 0
    sent_bytes: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def codes(self) -> set[str]:
        """Return the code and the enhanced code of each end."""
        return {" ".join(end.split(" ")[:2]) for end in self.ends}

    def end(self, reply: str) -> None:
        self.ends[reply.partition(" as ")[0]] += 1


Attack = Callable[[Victim], Awaitable[Toll]]


@asynccontextmanager
async def attacker(victim: Victim, toll: Toll) -> AsyncIterator[Raw]:
    toll.connections += 1
    async with client(victim.port, source_ip=BALANCER_IP) as raw:
        raw.writer.write(PROXY_HEADER)
        yield raw


async def endless_command(victim: Victim, size_bytes: int = 200 * MEGABYTE) -> Toll:
    toll = Toll()
    async with attacker(victim, toll) as raw:
        await raw.hear()
        await pour(raw, toll, CHUNK, size_bytes)
        toll.end(await last_word(raw))
    return toll


async def endless_line(victim: Victim, size_bytes: int = 200 * MEGABYTE) -> Toll:
    """Send a mail without a line end."""
    toll = Toll()
    async with attacker(victim, toll) as raw:
        await reach_data(raw, victim)
        await pour(raw, toll, CHUNK, size_bytes)
        toll.end(await last_word(raw))
    return toll


async def line_ends(victim: Victim, size_bytes: int = 31 * 1024 * 1024) -> Toll:
    """Send a mail of nothing but line ends."""
    toll = Toll()
    async with attacker(victim, toll) as raw:
        await reach_data(raw, victim)
        await pour(raw, toll, b"\r\n" * (len(CHUNK) // 2), size_bytes)
        raw.writer.write(b".\r\n")
        toll.end(await raw.hear())
    return toll


async def many_recipients(victim: Victim, count: int = 20_000) -> Toll:
    """Name them as fast as they are answered; `ends` counts the answers."""
    toll = Toll()
    async with attacker(victim, toll) as raw:
        await raw.log_in(victim.user, victim.password)
        await raw.say(f"MAIL FROM:<{victim.sender}>")
        with broken_off():
            for start in range(0, count, RECIPIENTS_AT_ONCE):
                burst = range(start, min(start + RECIPIENTS_AT_ONCE, count))
                words = b"".join(b"RCPT TO:<r%d@there.test>\r\n" % n for n in burst)
                raw.writer.write(words)
                toll.sent_bytes += len(words)
                for _ in burst:
                    toll.end(await raw.hear())
    del toll.ends[""]
    return toll


async def guesses(victim: Victim, clients: int = 50, lasting_s: float = 10.0) -> Toll:
    """Guess passwords, of the victim and of users that do not exist, from many connections that
    come again when they are thrown out; `ends` counts the answers.
    """
    toll = Toll()
    ends_at = time.monotonic() + lasting_s
    async with asyncio.TaskGroup() as group:
        for n in range(clients):
            group.create_task(_guess(victim, n, toll, ends_at))
    return toll


async def _guess(victim: Victim, n: int, toll: Toll, ends_at: float) -> None:
    guess = 0
    while time.monotonic() < ends_at:
        async with attacker(victim, toll) as raw:
            reply = await raw.hear()
            if not reply.startswith("220"):
                toll.end(reply)
                await asyncio.sleep(0.1)
                continue
            await raw.say("EHLO attacker.test")
            while time.monotonic() < ends_at and not reply.startswith("421"):
                guess += 1
                user = victim.user if guess % 2 else f"user{n}-{guess}"
                words = base64.b64encode(f"\0{user}\0guess{guess}".encode())
                raw.writer.write(b"AUTH PLAIN " + words + b"\r\n")
                try:
                    async with asyncio.timeout_at(loop_time(ends_at)):
                        reply = await raw.hear()
                except TimeoutError:
                    return
                toll.end(reply)


@asynccontextmanager
async def crowd(victim: Victim, count: int = 300) -> AsyncIterator[Toll]:
    """Connect so many times, and say nothing; `ends` counts the greetings."""
    toll = Toll()
    async with AsyncExitStack() as held:
        for _ in range(count):
            raw = await held.enter_async_context(attacker(victim, toll))
            toll.end((await raw.hear()).partition(" ")[0])
        yield toll


async def idle_connections(victim: Victim, count: int = 300, lasting_s: float = 3.0) -> Toll:
    async with crowd(victim, count) as toll:
        await asyncio.sleep(lasting_s)
    return toll


async def slow_clients(victim: Victim, each: int = 2, pause_s: float = 1.0) -> Toll:
    """Waste time in every way, until all are thrown out; `ends` counts the last words."""
    toll = Toll()
    async with asyncio.TaskGroup() as group:
        for waste in (say_nothing, drip_a_command, drip_noops, drip_a_mail):
            for _ in range(each):
                group.create_task(waste(victim, toll, pause_s))
    return toll


async def say_nothing(victim: Victim, toll: Toll, _pause_s: float) -> None:
    async with attacker(victim, toll) as raw:
        toll.end(await last_word(raw))


async def drip_a_command(victim: Victim, toll: Toll, pause_s: float) -> None:
    async with attacker(victim, toll) as raw:
        await raw.hear()
        await drip(raw, toll, b"x", pause_s)


async def drip_noops(victim: Victim, toll: Toll, pause_s: float) -> None:
    async with attacker(victim, toll) as raw:
        await raw.hear()
        await drip(raw, toll, b"NOOP\r\n", pause_s / 2)


async def drip_a_mail(victim: Victim, toll: Toll, pause_s: float) -> None:
    async with attacker(victim, toll) as raw:
        await reach_data(raw, victim)
        await drip(raw, toll, b"x", pause_s)


async def drip(raw: Raw, toll: Toll, octets: bytes, pause_s: float) -> None:
    """Say the same again and again, with pauses, until the server has enough."""
    listening = asyncio.create_task(last_word(raw))
    while not listening.done():
        raw.writer.write(octets)
        toll.sent_bytes += len(octets)
        await asyncio.wait([listening], timeout=pause_s)
    toll.end(listening.result())


async def reach_data(raw: Raw, victim: Victim) -> None:
    await raw.log_in(victim.user, victim.password)
    await raw.say(f"MAIL FROM:<{victim.sender}>")
    await raw.say("RCPT TO:<x@there.test>")
    assert (await raw.say("DATA")).startswith("354")


async def pour(raw: Raw, toll: Toll, chunk: bytes, size_bytes: int) -> None:
    """Write as fast as it is read, until it is enough or the server hangs up."""
    left = size_bytes
    with broken_off():
        while left > 0:
            raw.writer.write(chunk[:left])
            await raw.writer.drain()
            toll.sent_bytes += min(len(chunk), left)
            left -= len(chunk)


async def last_word(raw: Raw) -> str:
    """Return the last line before the server leaves."""
    last = b""
    with broken_off():
        while line := await raw.reader.readline():
            last = line
    return last.decode().rstrip()


@contextmanager
def broken_off() -> Iterator[None]:
    """Go on where the server has hung up."""
    try:
        yield
    except ConnectionError:
        return


def loop_time(monotonic: float) -> float:
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
