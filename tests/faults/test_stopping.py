"""SIGTERM to a whole node: who is served is served to the end, who waits is sent home, nothing is
lost and nothing is sent twice.
"""

import asyncio
import base64
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream
from tests.faults.house import House
from tests.faults.ledgers import FIELD, Face, begun, new_token
from tests.faults.run import read_books
from tests.faults.test_dying import settled
from tests.faults.traffic import Client, Traffic
from tests.scenarios.raw_client import Raw, client
from tests.waiting import until

# A node that is told to stop, and has nothing to do, is gone by then.
AT_ONCE_S = 5.0

pytestmark = pytest.mark.slow


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def reach_data(raw: Raw, house: House, token: str) -> None:
    tenancy = house.tenants["acme"]
    login = base64.b64encode(f"\0{tenancy.username}\0{tenancy.password}".encode()).decode()
    await raw.hear()
    await raw.say("EHLO client.test")
    assert (await raw.say(f"AUTH PLAIN {login}")).startswith("235")
    await raw.say("MAIL FROM:<app@acme.test>")
    await raw.say(f"RCPT TO:<{token}@sink.test>")
    assert (await raw.say("DATA")).startswith("354")


async def under_way(upstream: FakeUpstream) -> None:
    """Wait until the upstream has read a mail, and owes its reply."""

    async def has_read() -> bool:
        return bool(upstream.cut)

    await until(has_read)


async def test_a_mail_whose_content_is_half_there_is_taken_to_its_end(house: House) -> None:
    token, [node] = new_token(), house.nodes
    content = f"{FIELD}: {token}\r\nSubject: x\r\n\r\nhalf and half\r\n".encode()
    async with client(node.smtp_port) as busy, client(node.smtp_port) as idle:
        await idle.hear()
        await reach_data(busy, house, token)
        house.ledger.begin(begun(token, "acme", Face.SMTP, content))
        busy.writer.write(content[:40])
        stopping = asyncio.create_task(node.terminate())
        assert (await idle.hear()).startswith("421 4.3.2")
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", node.smtp_port)
        busy.writer.write(content[40:] + b".\r\n")
        assert (await busy.hear()).startswith("250 2.0.0")
        house.ledger.accepted(token, 250)
        assert await stopping == 0
    await node.start()
    books = await settled(house, Traffic(house), 1)
    assert len(books.got) == 1


async def test_a_mail_that_is_under_way_to_its_upstream_arrives_once(house: House) -> None:
    upstream = house.sinks["acme"].upstream
    upstream.delays["DOT"] = 1.0
    traffic = Traffic(house)
    await Client(traffic, 0, house.tenants["acme"]).by_fresh_smtp()
    await under_way(upstream)
    assert await house.nodes[0].terminate() == 0
    house.collect()
    assert len(house.got) == 1
    await house.nodes[0].start()
    books = await settled(house, traffic, 1)
    assert len(books.got) == 1


async def test_an_idle_client_of_the_api_does_not_hold_up_the_end(house: House) -> None:
    [node] = house.nodes
    limits = httpx.Limits(max_keepalive_connections=5, keepalive_expiry=60)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as idle:
        await idle.get(f"http://127.0.0.1:{node.http_port}/health")
        began = time.monotonic()
        assert await node.terminate() == 0
        assert time.monotonic() - began < AT_ONCE_S


async def test_a_second_signal_ends_it_at_once_and_loses_nothing(house: House) -> None:
    upstream, [node] = house.sinks["acme"].upstream, house.nodes
    upstream.delays["DOT"] = 60.0
    traffic = Traffic(house)
    await Client(traffic, 0, house.tenants["acme"]).by_fresh_smtp()
    await under_way(upstream)
    assert node.process
    node.process.send_signal(signal.SIGTERM)
    while not node.events("stopping"):
        await asyncio.sleep(0.02)
    began = time.monotonic()
    node.process.send_signal(signal.SIGTERM)
    assert await node.ended() != 0
    assert time.monotonic() - began < AT_ONCE_S
    upstream.delays["DOT"] = 0.0
    await node.start()
    books = await settled(house, traffic, 1)
    assert len(books.got) == 1
    [shown] = (await read_books(house, traffic)).shown
    assert shown.is_flagged
