"""PostgreSQL goes away under load: clients hear 451 or 503, nothing acknowledged is lost, and
it comes back by itself.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import PostgresServer, make_database, postgres_programs
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.test_crash import Ledger, doubts, drained, load, prepare
from tests.waiting import until


@pytest.fixture
async def own_server() -> AsyncIterator[PostgresServer]:
    programs = postgres_programs()
    assert programs
    server = PostgresServer(programs)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", ["immediate", "fast"])
async def test_a_database_that_restarts_costs_time_and_no_mail(
    own_server: PostgresServer, tmp_path: Path, how: str
) -> None:
    ledger = Ledger()
    dsn = await make_database(own_server.dsn("postgres"))
    async with (
        FakeUpstream(keeps_content=False) as upstream,
        ServeProcess(tmp_path / "home", dsn) as serve,
    ):
        password = await prepare(serve, upstream)
        clients = asyncio.create_task(load(serve, password, ledger))
        for _ in range(3):
            await asyncio.sleep(1)
            await asyncio.to_thread(own_server.restart, how)
        before = len(ledger.acknowledged)

        async def takes_mail_again() -> bool:
            return len(ledger.acknowledged) > before + 20

        await until(takes_mail_again, timeout_s=15)
        ledger.is_closed = True
        await clients

        async def complete() -> bool:
            there = {m.recipients[0].partition("@")[0] for m in upstream.received}
            return ledger.acknowledged <= there

        await until(complete, timeout_s=60, every_s=0.2)
        await drained(serve)
        counts = Counter(m.recipients[0].partition("@")[0] for m in upstream.received)
        assert set(counts) <= ledger.acknowledged | ledger.in_doubt
        for token in [token for token, count in counts.items() if count > 1]:
            assert await doubts(serve, token)
        assert await serve.terminate() == 0
