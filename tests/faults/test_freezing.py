"""A node freezes at a named point until others have buried it, and goes on: it sends and tells
nothing of what is not its own any more.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.client import FakeClient
from tests.faults.dying import command, farewell
from tests.faults.house import House
from tests.faults.nodes import SHARED
from tests.faults.test_dying_beside import add, all_is_sent
from tests.process import ServeProcess
from tests.waiting import until

pytestmark = pytest.mark.slow
SETTINGS = {**SHARED, "PILLARBOX_CALLBACK_POLL_S": "0.1"}


@pytest.fixture
async def house(tmp_path: Path, postgres_server: str) -> AsyncIterator[House]:
    async with House(
        tmp_path, "postgres", nodes=2, postgres=postgres_server, settings=SETTINGS
    ) as house:
        yield house


async def freezing_at(house: House, point: str) -> ServeProcess:
    """Start the first node again so that it freezes at the point."""
    node = house.nodes[0]
    await node.terminate()
    node.run = command(point, end=signal.SIGSTOP)
    await node.start()
    return node


async def frozen(node: ServeProcess, point: str) -> None:
    async def is_frozen() -> bool:
        return farewell(point) in node.log()

    await until(is_frozen, timeout_s=15)


async def thawed(node: ServeProcess) -> None:
    """Have it go on, until it knows that its lease is lost."""
    assert node.process
    node.process.send_signal(signal.SIGCONT)

    async def knows() -> bool:
        return bool(node.events("lease_lost"))

    await until(knows, timeout_s=15)


@pytest.mark.parametrize("point", ["envelope said", "begun"])
async def test_what_it_was_about_to_send_is_sent_by_the_other_only(
    house: House, point: str
) -> None:
    node = await freezing_at(house, point)
    giving = asyncio.create_task(add(house))
    await frozen(node, point)
    await all_is_sent(house, 1)
    await thawed(node)
    await giving
    assert await node.terminate() == 0
    await all_is_sent(house, 1)


async def test_what_it_was_about_to_report_is_reported_by_the_other_only(house: House) -> None:
    async with FakeClient() as client:
        await house.nodes[0].client.put("/tenant/acme", json={"client_base_url": client.url})
        await client.wait_for(lambda c: bool(c.calls))
        await house.nodes[1].terminate()
        node = await freezing_at(house, "report taken")
        giving = asyncio.create_task(add(house))
        await frozen(node, "report taken")
        await house.nodes[1].start()
        await client.wait_for(lambda c: bool(c.full), timeout_s=15)
        await thawed(node)
        token = await giving
        assert await node.terminate() == 0
        assert [call.ids for call in client.full] == [[token]]
