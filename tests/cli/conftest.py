"""Instances to work on: on each engine in turn, running and stopped; one of each for a module."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Cli, variables_for
from tests.conftest import drop_database, make_database


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database; "" for the embedded one."""
    if request.param == "sqlite":
        yield ""
        return
    dsn = asyncio.run(make_database(request.getfixturevalue("postgres_server")))
    yield dsn
    asyncio.run(drop_database(dsn))


@pytest.fixture(scope="module")
def cli(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    home = tmp_path_factory.mktemp("home")
    return Cli(home, variables_for(engine) if engine else {})


@pytest.fixture(scope="module", params=["running", "stopped"])
def instance(request: pytest.FixtureRequest, cli: Cli) -> Iterator[Cli]:
    """An instance `prod`, running or stopped, with the tenant `acme` and its account `main`, which
    keeps its mail, and the tenant `rest` whose mail stays: its account's server is not there.
    """
    if (cli.home / "prod").exists():
        # As its neighbour left it, on the same database.
        cli.ok("prod", "tenants", "delete", "acme", "--yes", "--force")
        cli.ok("prod", "tenants", "delete", "rest", "--yes", "--force")
    if request.param == "running":
        cli.start("prod")
    else:
        (cli.home / "prod").mkdir(mode=0o700, exist_ok=True)
        (cli.home / "prod" / "pillarbox.toml").touch()
    fill(cli)
    yield cli
    if request.param == "running":
        assert cli.process("stop", "prod").code == 0


def fill(cli: Cli) -> None:
    cli.ok("prod", "tenants", "add", "acme", "--name", "Acme")
    cli.ok("prod", "acme", "accounts", "add", "main", "--kind", "capture")
    cli.ok("prod", "tenants", "add", "rest", "--name", "At rest")
    cli.ok("prod", "rest", "accounts", "add", "main", "--host", "127.0.0.1", "--port", "1")


@pytest.fixture
def is_running(instance: Cli) -> bool:
    return bool(list((instance.home / "prod").glob("api*.sock")))


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """A file with a mail."""
    path = tmp_path / "hello.eml"
    path.write_text("From: App <app@acme.example>\nTo: you@there.example\nSubject: Hello\n\nHi.\n")
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Cli:
    """A command line with an empty home, on the embedded engine."""
    return Cli(tmp_path / "home")
