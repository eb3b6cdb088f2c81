"""`pillarbox serve` refuses to start where it could not keep its promises: one line that says what
to do, an exit code, and a database that is as it was.
"""

import asyncio
import fcntl
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from cli.failure import EX_UNAVAILABLE
from tests.cli.command import PROGRAM, Cli, Shown
from tests.conftest import drop_database, make_database
from tests.process import KEY, TOKEN

OTHER_KEY = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Q="
LATEST = "DELETE FROM schema_versions WHERE version = (SELECT MAX(version) FROM schema_versions)"


@dataclass
class House:
    """An instance that was used before and does not run; `variables` are added for its start."""

    cli: Cli
    url: str
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return Path(self.url.removeprefix("sqlite:"))

    def run(self, sql: str) -> None:
        """Change the database behind our back."""
        if self.url.startswith("sqlite:"):
            with closing(sqlite3.connect(self.file)) as connection:
                connection.execute(sql)
                connection.commit()
            return
        asyncio.run(run_in(self.url, sql))

    def content(self) -> list[str]:
        """Return all that is in the database."""
        if self.url.startswith("sqlite:"):
            with closing(sqlite3.connect(self.file)) as connection:
                return list(connection.iterdump())
        return asyncio.run(content_of(self.url))

    def serve(self) -> Shown:
        self.cli.variables.update(self.variables)
        done = subprocess.run(
            [*PROGRAM, "serve"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.cli.environment,
            timeout=60,
            check=False,
            text=True,
        )
        return Shown(done.returncode, done.stdout, done.stderr)


async def run_in(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def content_of(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    columns = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    told = [str(tuple(row)) for row in columns]
    for table in sorted({row["table_name"] for row in columns}):
        told += sorted(str(row) for row in await connection.fetch(f"SELECT * FROM {table}"))
    await connection.close()
    return told


@pytest.fixture(params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "home" / "default"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "pillarbox.toml").touch()
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:{folder / 'pillarbox.db'}"
    if not is_sqlite:
        url = asyncio.run(make_database(request.getfixturevalue("postgres_server")))
    variables = {
        "PILLARBOX_DB": url,
        "PILLARBOX_ENCRYPTION_KEY": KEY,
        "PILLARBOX_API_TOKEN": TOKEN,
        "PILLARBOX_SMTP_LISTEN": "127.0.0.1:0",
        "PILLARBOX_HTTP_LISTEN": "127.0.0.1:0",
    }
    house = House(Cli(tmp_path / "home", variables), url, folder)
    for tenant in ("acme", "other"):
        house.cli.ok("default", "tenants", "add", tenant)
    yield house
    if not is_sqlite:
        asyncio.run(drop_database(url))


def the_key_is_another(house: House) -> None:
    house.variables["PILLARBOX_ENCRYPTION_KEY"] = OTHER_KEY


def the_key_is_another_and_the_schema_older(house: House) -> None:
    the_key_is_another(house)
    house.run(LATEST)


def the_key_is_lost(house: House) -> None:
    del house.cli.variables["PILLARBOX_ENCRYPTION_KEY"]


def the_schema_is_newer(house: House) -> None:
    house.run("INSERT INTO schema_versions (version, name, applied_at) VALUES (9999, 'x', 0)")


def the_schema_is_newer_and_lacks_one(house: House) -> None:
    house.run(LATEST)
    the_schema_is_newer(house)


def logins_would_cross_the_network_in_clear(house: House) -> None:
    house.variables["PILLARBOX_SMTP_LISTEN"] = "0.0.0.0:0"


def the_token_is_short(house: House) -> None:
    house.variables |= {"PILLARBOX_HTTP_LISTEN": "0.0.0.0:0", "PILLARBOX_API_TOKEN": "secret"}


def the_token_is_that_of_an_example(house: House) -> None:
    token = "change-me-change-me-now"
    house.variables |= {"PILLARBOX_HTTP_LISTEN": "0.0.0.0:0", "PILLARBOX_API_TOKEN": token}


def the_token_is_one_letter(house: House) -> None:
    house.variables |= {"PILLARBOX_HTTP_LISTEN": "0.0.0.0:0", "PILLARBOX_API_TOKEN": "x" * 40}


def a_library_is_too_old(house: House) -> None:
    info = house.folder / "old" / "aiosmtplib-5.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiosmtplib\nVersion: 5.0.0\n")
    paths = [str(info.parent), os.environ.get("PYTHONPATH", "")]
    house.variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def there_are_two_processes(house: House) -> None:
    house.variables["PILLARBOX_WORKERS"] = "2"


def two_processes_have_another_key(house: House) -> None:
    there_are_two_processes(house)
    the_key_is_another(house)


def a_page_is_damaged(house: House) -> None:
    """Damage one that nobody reads at the start."""
    with closing(sqlite3.connect(house.file)) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'command_log'")
        [size_bytes] = connection.execute("PRAGMA page_size").fetchone()
    with house.file.open("r+b") as file:
        file.seek((page[0] - 1) * size_bytes)
        file.write(os.urandom(4096))


def the_first_page_is_damaged(house: House) -> None:
    with house.file.open("r+b") as file:
        file.write(os.urandom(4096))


def the_file_is_gone(house: House) -> None:
    for path in house.folder.glob("pillarbox.db*"):
        if path.suffix != ".lock":
            path.unlink()


def the_file_is_empty(house: House) -> None:
    the_file_is_gone(house)
    house.file.touch()


def a_commit_may_be_lost(house: House) -> None:
    name = house.url.rpartition("/")[2]
    house.run(f"ALTER DATABASE {name} SET synchronous_commit = off")


def it_does_not_answer(house: House) -> None:
    house.variables["PILLARBOX_DB"] = "postgresql://postgres@127.0.0.1:1/none"


def it_does_not_know_the_database(house: House) -> None:
    house.variables["PILLARBOX_DB"] = f"{house.url}_missing"


Prepare = Callable[[House], None]

# What is wrong, the exit code, and what is said of it.
BOTH: dict[Prepare, tuple[int, str]] = {
    the_key_is_another: (os.EX_CONFIG, "encryption_key: this is not the key"),
    the_key_is_another_and_the_schema_older: (os.EX_CONFIG, "encryption_key: this is not the key"),
    the_key_is_lost: (os.EX_CONFIG, "encryption_key.*restore the file|encryption_key.*set"),
    the_schema_is_newer: (os.EX_CONFIG, "schema version 9999.*start the newer Pillarbox"),
    the_schema_is_newer_and_lacks_one: (os.EX_CONFIG, "schema version 9999"),
    logins_would_cross_the_network_in_clear: (os.EX_CONFIG, "smtp.listen.*set smtp.tls_cert"),
    the_token_is_short: (os.EX_CONFIG, "http.api_token.*at least 16 characters"),
    the_token_is_that_of_an_example: (os.EX_CONFIG, "http.api_token.*openssl rand"),
    the_token_is_one_letter: (os.EX_CONFIG, "http.api_token.*openssl rand"),
    a_library_is_too_old: (os.EX_CONFIG, "aiosmtplib 5.0.0 is installed.*pip install"),
}
SQLITE: dict[Prepare, tuple[int, str]] = {
    there_are_two_processes: (os.EX_CONFIG, "workers.*PostgreSQL"),
    a_page_is_damaged: (os.EX_CONFIG, "damaged, restore a backup"),
    the_first_page_is_damaged: (os.EX_CONFIG, "damaged, restore a backup"),
    the_file_is_gone: (os.EX_CONFIG, "gone or empty.*restore it"),
    the_file_is_empty: (os.EX_CONFIG, "gone or empty.*restore it"),
}
POSTGRES: dict[Prepare, tuple[int, str]] = {
    two_processes_have_another_key: (os.EX_CONFIG, "encryption_key: this is not the key"),
    a_commit_may_be_lost: (os.EX_CONFIG, "synchronous_commit=off.*switch it on"),
    it_does_not_answer: (EX_UNAVAILABLE, "PostgreSQL does not answer"),
    it_does_not_know_the_database: (os.EX_CONFIG, "database.url: PostgreSQL refuses"),
}
UNREADABLE = {a_page_is_damaged, the_first_page_is_damaged, the_file_is_gone, the_file_is_empty}


def on(engine: str, wrong: Iterable[Prepare]) -> list[object]:
    return [pytest.param(engine, each, id=f"{engine}-{each.__name__}") for each in wrong]


@pytest.mark.parametrize(
    ("house", "wrong"),
    on("sqlite", BOTH | SQLITE) + on("postgres", BOTH | POSTGRES),
    indirect=["house"],
)
def test_it_does_not_start_where(house: House, wrong: Prepare) -> None:
    wrong(house)
    before = octets_or_rows(house, wrong)
    refused(house.serve(), *(BOTH | SQLITE | POSTGRES)[wrong])
    assert octets_or_rows(house, wrong) == before


def octets_or_rows(house: House, wrong: Prepare) -> object:
    if wrong not in UNREADABLE:
        return house.content()
    return house.file.read_bytes() if house.file.exists() else None


def refused(shown: Shown, code: int, words: str) -> None:
    assert shown.code == code, shown
    lines = [line for line in shown.err.splitlines() if not line.startswith("{")]
    assert set(lines) == {lines[0]}, shown.err
    assert re.match(f"pillarbox: .*(?:{words})", lines[0]), lines[0]


@pytest.mark.parametrize("house", ["postgres"], indirect=True)
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_it_does_not_start_on_a_postgresql_that_does_not_sync(
    house: House, postgres_server: str, setting: str
) -> None:
    with switched_off(postgres_server, setting):
        refused(house.serve(), os.EX_CONFIG, f"{setting}=off.*switch it on")


@contextmanager
def switched_off(server: str, setting: str) -> Iterator[None]:
    asyncio.run(run_in(server, f"ALTER SYSTEM SET {setting} = off"))
    asyncio.run(run_in(server, "SELECT pg_reload_conf(), pg_sleep(0.2)"))
    try:
        yield
    finally:
        asyncio.run(run_in(server, f"ALTER SYSTEM RESET {setting}"))
        asyncio.run(run_in(server, "SELECT pg_reload_conf()"))


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_it_does_not_start_where_another_process_has_the_embedded_database(house: House) -> None:
    with open(f"{house.file}.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(house.serve(), os.EX_TEMPFAIL, "in use by another Pillarbox.*use PostgreSQL")


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_it_starts_anew_where_the_operator_says_so(house: House) -> None:
    the_file_is_gone(house)
    Path(f"{house.file}.lock").unlink()
    assert house.cli.ok("default", "tenants", "list", "--json").json == []
