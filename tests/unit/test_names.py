"""Names to addresses: a name for which nobody answers holds up only who asks for it."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
import uvloop

from relay.net.dial import dial, first_open
from relay.net.names import FRESH_S, NAMES_AT_ONCE, STALE_S, Address, Names
from tests.fakes.upstream import FakeUpstream

NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def at(host: str, port: int = 25) -> Address:
    return Address(socket.AF_INET, (host, port))


class NameServer:
    """Answers in the look-up's thread: with the address of a name, an error, or not before
    `release`.
    """

    def __init__(self, **answers: str | OSError) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.now = 0.0
        self._released = threading.Event()

    def __call__(self, host: str, _port: int) -> Sequence[Address]:
        self.asked.append(host)
        if host.startswith("hang"):
            self._released.wait(20)
        answer = self.answers.get(host, NO_SUCH_NAME)
        if isinstance(answer, OSError):
            raise answer
        return [at(answer)]

    def release(self) -> None:
        self._released.set()

    def names(self) -> Names:
        return Names(self, lambda: self.now)


async def test_a_name_is_asked_for_once_by_all_who_want_it() -> None:
    server = NameServer(hang="10.0.0.1")
    names = server.names()
    waiting = [asyncio.create_task(names.find("hang", 25)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    server.release()
    assert [await task for task in waiting[1:]] == [(at("10.0.0.1"),)] * 19
    assert server.asked == ["hang"]


async def test_what_was_found_serves_for_a_while() -> None:
    server = NameServer(mx="10.0.0.1")
    names = server.names()
    await names.find("mx", 25)
    server.now = FRESH_S - 1
    await names.find("mx", 25)
    assert server.asked == ["mx"]
    server.now = FRESH_S + 1
    await names.find("mx", 25)
    assert server.asked == ["mx", "mx"]


async def test_what_was_found_serves_on_while_nobody_answers() -> None:
    server = NameServer(mx="10.0.0.1")
    names = server.names()
    await names.find("mx", 25)
    server.answers["mx"] = NO_ANSWER
    server.now = STALE_S - 1
    assert await names.find("mx", 25) == (at("10.0.0.1"),)
    server.now = STALE_S + 1
    with pytest.raises(socket.gaierror):
        await names.find("mx", 25)


async def test_a_name_that_is_no_more_is_not_used_on() -> None:
    server = NameServer(mx="10.0.0.1")
    names = server.names()
    await names.find("mx", 25)
    del server.answers["mx"]
    server.now = FRESH_S + 1
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.find("mx", 25)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_names_that_hang_delay_no_other(run: Callable[[Awaitable[None]], None]) -> None:
    async def scenario() -> None:
        server = NameServer(mx="10.0.0.1")
        names = server.names()
        hanging = [
            asyncio.create_task(names.find(f"hang{n}", 25)) for n in range(NAMES_AT_ONCE - 1)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            assert await names.find("mx", 25) == (at("10.0.0.1"),)
        more = [asyncio.create_task(names.find(f"hang more {n}", 25)) for n in range(10)]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            assert await names.find("mx", 25) == (at("10.0.0.1"),)
            assert await names.find("10.0.0.7", 25) == [at("10.0.0.7")]
            assert (await names.find("::1", 25))[0].place[:2] == ("::1", 25)
        for task in (*hanging, *more):
            task.cancel()
        server.release()

    run(scenario())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    run: Callable[[Awaitable[None]], None],
) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            port = full.getsockname()[1]
            # With its backlog full a listener answers no further SYN.
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with FakeUpstream() as fake:
                loop = asyncio.get_running_loop()
                addresses = [at("127.0.0.1", port), at("127.0.0.1", fake.port)]
                async with asyncio.timeout(3):
                    opened = await first_open(addresses, loop.time() + 1)
                assert opened.getpeername()[1] == fake.port
                opened.close()
            for filler in fillers:
                filler.close()

    run(scenario())


async def test_nobody_listening_is_an_os_error() -> None:
    async with FakeUpstream() as fake:
        port = fake.port
    with pytest.raises(ConnectionRefusedError):
        await dial(Names(), "127.0.0.1", port, 1)


async def test_a_look_up_without_an_end_ends_for_who_waits() -> None:
    server = NameServer()
    with pytest.raises(TimeoutError):
        await dial(server.names(), "hang", 25, 0.05)
    server.release()
