"""A database of the first schema, with mail in it, and an upgrade that is killed in each of its
migrations: the next start goes on where it stood, and the mail leaves.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.model import lane_of, new_pk
from relay.store.database import Database, Query, Script, Value
from relay.store.migrate import APPLIED, migrations
from tests.conftest import drop_database, make_database, open_database
from tests.fakes.upstream import FakeUpstream
from tests.faults.actions import died
from tests.faults.dying import command
from tests.faults.selection import EVERYTHING, stores
from tests.process import ServeProcess

CONTENT = b"Subject: from before\r\n\r\nstill here\r\n"


def insert(table: str, **values: Value) -> Query:
    """Build a row as the first version wrote it."""
    names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
    return Query(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(values.values()))


def mail_of_before(port: int, now: float) -> Script[None]:
    """Write a tenant, its account, and a mail that is due."""
    pk, times = new_pk(now), {"created_at": now, "updated_at": now}
    of_acme: dict[str, Value] = {"tenant_id": "acme"}
    yield insert(
        "tenants",
        id="acme",
        name="Acme",
        active=True,
        weight=1,
        dsn="something old",
        suspended_batches="[]",
        **times,
    )
    yield insert(
        "accounts",
        id="main",
        host="127.0.0.1",
        port=port,
        use_tls=False,
        tls="none",
        tls_given=True,
        verify=True,
        kind="smtp",
        ttl=300,
        limit_behavior="defer",
        max_connections=4,
        max_messages_per_connection=100,
        weight=1,
        rank=0,
        sender_domains="[]",
        is_pec_account=False,
        version=1,
        **of_acme,
        **times,
    )
    yield insert(
        "messages",
        pk=pk,
        id="m1",
        account_id="main",
        priority=2,
        sender="app@acme.test",
        has_8bit=False,
        has_utf8_headers=False,
        longest_line=30,
        size_bytes=len(CONTENT),
        ingress="smtp",
        message_id="<before@acme.test>",
        record="{}",
        is_pec=False,
        on_unknown="retry",
        accepted_at=now,
        updated_at=now,
        open_recipients=1,
        **of_acme,
    )
    yield insert("contents", message_pk=pk, body=CONTENT)
    yield insert(
        "recipients",
        message_pk=pk,
        n=0,
        address="bob@there.test",
        state="queued",
        lane=lane_of("acme", "main", "acme.test"),
        priority=2,
        due_at=now,
        attempts=0,
        unknowns=0,
    )
    data = '{"recipient": "bob@there.test"}'
    yield insert(
        "events",
        message_pk=pk,
        seq=int(now * 1e6),
        kind="accepted",
        at=now,
        data=data,
        report="none",
        **of_acme,
    )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await open_database(url)
    try:
        yield database
    finally:
        await database.close()


async def applied(url: str) -> set[int]:
    """Say which migrations the database has, by itself."""
    async with opened(url) as database:
        return {int(row[0]) for row in await database.fetch(APPLIED)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", stores())
async def test_an_upgrade_that_is_killed_in_a_migration_goes_on_and_keeps_the_mail(
    store: str, tmp_path: Path, postgres_server: str
) -> None:
    url = f"sqlite:{tmp_path / 'pillarbox.db'}"
    if store == "postgres":
        url = await make_database(postgres_server)
    versions = [each.version for each in migrations(store)]
    serve = ServeProcess(tmp_path / "home", url)
    async with FakeUpstream() as upstream:
        await killed_past(serve, versions[0])
        async with opened(url) as database:
            await database.write(lambda: mail_of_before(upstream.port, time.time()))
        for version in versions[:-1] if EVERYTHING else (versions[0], versions[-2]):
            await killed_past(serve, version)
            assert await applied(url) == {v for v in versions if v <= version}
        await serve.start()
        [mail] = await upstream.wait_for(1)
        assert mail.content == CONTENT
        assert await serve.terminate() == 0
        assert await applied(url) == set(versions)
    await serve.client.aclose()
    if store == "postgres":
        await drop_database(url)


async def killed_past(serve: ServeProcess, version: int) -> None:
    """Start it, and have it die in the migration after this one."""
    point = f"migration past {version}"
    serve.run = command(point)
    await serve.launch()
    await died(serve, point)
