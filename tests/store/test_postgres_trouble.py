"""PostgreSQL that does not answer: how long it is waited for, what its errors mean, what became of
a commit that was not answered.
"""

import asyncio
import inspect
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from relay.crypto import Keyring
from relay.errors import CommitInDoubt, DataRejected, StoreFull, StoreUnavailable, Temporary
from relay.model import Tenant
from relay.store.database import Database, Query, Script
from relay.store.migrate import migrate
from relay.store.postgres import Conflict, open_postgres, translated
from relay.store.tenants import TenantStore
from tests.conftest import PostgresServer, make_database, postgres_programs

from .conftest import new_spool, put

PATIENCE_S = 3.0
# What a busy machine may add.
GRACE_S = 2.0
INSERT = "INSERT INTO instance (name, value) VALUES ($1, 'x')"


def errors() -> Iterator[asyncpg.PostgresError]:
    for _, kind in inspect.getmembers(asyncpg.exceptions, inspect.isclass):
        if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate:
            yield kind("what the server said")


def test_only_a_refused_value_is_the_callers_fault() -> None:
    meanings = {error.sqlstate: translated(error) for error in errors()}
    assert len({state[:2] for state in meanings}) > 30, "every class of SQLSTATE is tried"
    for state, meaning in meanings.items():
        assert isinstance(meaning, DataRejected) == (state[:2] in ("22", "23")), state
        assert isinstance(meaning, Temporary) != isinstance(meaning, DataRejected), state
        assert isinstance(meaning, StoreFull) == (state == "53100"), state
        assert isinstance(meaning, Conflict) == (state in ("40001", "40P01")), state


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("the connection is closed"),
        asyncpg.InternalClientError("it has lost its way"),
    ],
)
def test_what_is_no_word_of_the_server_is_temporary(error: Exception) -> None:
    assert type(translated(error)) is StoreUnavailable


@pytest.fixture
async def own_server() -> AsyncIterator[PostgresServer]:
    programs = postgres_programs()
    assert programs
    server = PostgresServer(programs)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.mark.slow
async def test_nobody_waits_longer_for_a_frozen_server_than_was_said(
    own_server: PostgresServer,
) -> None:
    database = await open_postgres(
        await make_database(own_server.dsn("postgres")), timeout_s=PATIENCE_S
    )
    own_server.send_all(signal.SIGSTOP)
    try:
        for ask in (lambda: database.fetch("SELECT 1"), lambda: database.write(nothing)):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await ask()
            assert time.monotonic() - began < PATIENCE_S + GRACE_S
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await database.write(nothing)
        assert time.monotonic() - began < PATIENCE_S
    finally:
        own_server.send_all(signal.SIGCONT)
    assert await database.fetch("SELECT 1")
    await database.close()


def nothing() -> Script[None]:
    yield Query("SELECT 1")


class Cutter:
    """Stands before a server; once `is_armed`, the first COMMIT goes through and no answer comes
    back.
    """

    def __init__(self, port: int, *, reaches_server: bool = True) -> None:
        self.is_armed = False
        self.port = 0
        self._target = port
        self._reaches_server = reaches_server

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        answers = asyncio.create_task(pump(there, writer))
        try:
            while chunk := await reader.read(1 << 16):
                if self.is_armed and b"COMMIT" in chunk:
                    self.is_armed = False
                    answers.cancel()
                    await asyncio.gather(answers, return_exceptions=True)
                    if self._reaches_server:
                        back.write(chunk)
                        await there.read(1)  # it was done
                    return
                back.write(chunk)
        finally:
            answers.cancel()
            back.close()
            writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)


@asynccontextmanager
async def cut(dsn: str, *, reaches_server: bool = True) -> AsyncIterator[tuple[Cutter, Database]]:
    head, _, name = dsn.rpartition("/")
    host, _, port = head.rpartition(":")
    cutter = Cutter(int(port), reaches_server=reaches_server)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    database = await open_postgres(f"{host}:{server.sockets[0].getsockname()[1]}/{name}")
    await migrate(database)
    try:
        yield cutter, database
    finally:
        await database.close()
        server.close()


async def test_a_commit_that_was_not_answered_is_in_doubt(postgres_dsn: str) -> None:
    async with cut(postgres_dsn) as (cutter, database):
        cutter.is_armed = True
        with pytest.raises(CommitInDoubt):
            await database.write(lambda: insert("a"))
        assert await database.fetch("SELECT 1 FROM instance WHERE name = 'a'")


async def test_what_failed_before_its_commit_is_not_in_doubt(postgres_dsn: str) -> None:
    async with cut(postgres_dsn) as (_, database):
        with pytest.raises(StoreUnavailable) as caught:
            await database.write(end_myself)
        assert not isinstance(caught.value, CommitInDoubt)


def insert(name: str) -> Script[None]:
    yield Query(INSERT, (name,))


def end_myself() -> Script[None]:
    yield Query("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("reaches_server", [True, False])
async def test_the_database_is_asked_what_became_of_a_mail(
    postgres_dsn: str, keyring: Keyring, reaches_server: bool
) -> None:
    async with cut(postgres_dsn, reaches_server=reaches_server) as (cutter, database):
        await TenantStore(database, keyring).save(Tenant("acme", "Acme"))
        spool = new_spool(database)
        await spool.start()
        cutter.is_armed = True
        if reaches_server:
            accepted = await put(spool)
            assert [d.pk for d in await spool.claim("acme/main", 9)] == [accepted.pk]
        else:
            with pytest.raises(StoreUnavailable) as caught:
                await put(spool)
            assert not isinstance(caught.value, CommitInDoubt)
            assert await spool.claim("acme/main", 9) == []
        await spool.close()
