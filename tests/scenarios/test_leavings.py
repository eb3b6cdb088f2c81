"""What a connection leaves when it has ended: nothing that waits for the garbage collector, which
comes seldom here, and till then would be memory by the megabyte.
"""

import asyncio
import gc
import ssl
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib
import pytest

from tests.fakes.upstream import FakeUpstream
from tests.scenarios.smtp_node import smtp_node
from tests.scenarios.test_ingress import send_inside_tls
from tests.scenarios.test_pool import CA, ca_file, pool_of, send
from tests.waiting import until

__all__ = ["ca_file"]

CONNECTIONS = 5


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def none_left() -> None:
    """Wait until nothing of a connection is in this process any more."""

    async def are_gone() -> bool:
        return not any(isinstance(one, ssl.SSLObject | aiosmtplib.SMTP) for one in gc.get_objects())

    await until(are_gone)


@pytest.mark.usefixtures("no_collector")
async def test_a_client_leaves_nothing_for_the_collector(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        for _ in range(CONNECTIONS):
            await asyncio.to_thread(send_inside_tls, node.tls_port)
        await none_left()


@pytest.mark.usefixtures("no_collector")
async def test_an_upstream_leaves_nothing_for_the_collector(ca_file: str) -> None:
    async with FakeUpstream(ca=CA, starttls=True) as fake, pool_of() as pool:
        for _ in range(CONNECTIONS):
            upstream = await pool.acquire(fake.account(ca_file=ca_file))
            assert await send(upstream) == ("sent", 250)
            await pool.discard(upstream)
            await upstream.session.quit()
            del upstream
        await none_left()
