"""Instances: started, listed, stopped, started again, killed, deleted."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pexpect
import pytest

from cli.serving import pids
from tests.cli.command import PROGRAM, Cli
from tests.conftest import free_port


@pytest.fixture
def home(plain: Cli) -> Iterator[Cli]:
    """An empty home; what still runs in it at the end is killed."""
    yield plain
    if plain.home.exists():
        for folder in plain.home.iterdir():
            for pid in pids(folder) if folder.is_dir() else ():
                os.kill(pid, signal.SIGKILL)


def pid_of(cli: Cli, name: str) -> int:
    return int(cli.ok("status", name, "--json").json["pids"][0])


def state_of(cli: Cli) -> str:
    return str(cli.ok("list", "--json").json[0]["state"])


def test_an_instance_is_started_used_and_stopped(home: Cli) -> None:
    port, smtp_port = free_port(), free_port()
    started = home.process("start", "prod", "--port", str(port), "--smtp-port", str(smtp_port))
    assert started.code == 0, started.err
    assert f"http://127.0.0.1:{port}" in started.out
    assert f"127.0.0.1:{smtp_port}" in started.out
    assert httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 200
    assert home.home.stat().st_mode & 0o777 == 0o700
    assert (home.home / "prod" / "api.sock").stat().st_mode & 0o777 == 0o600
    [listed] = home.ok("list", "--json").json
    assert (listed["state"], listed["waiting"]) == ("running", 0)
    assert "running" in home.ok("status", "prod").out
    again = home("start", "prod")
    assert (again.code, "is running already" in again.err) == (1, True)
    before = pid_of(home, "prod")
    restarted = home.process("restart", "prod")
    assert f"http://127.0.0.1:{port}" in restarted.out  # what was given is kept
    assert pid_of(home, "prod") != before
    assert home.ok("stop", "prod").out == "prod is stopped\n"
    assert home("stop", "prod").code == 69
    assert home("status", "prod").code == 69
    assert state_of(home) == "stopped"


def test_an_instance_in_the_foreground_ends_with_ctrl_c(home: Cli) -> None:
    words = ("start", "prod", "--foreground", "--port", "0", "--smtp-port", "0")
    terminal = home.terminal("--home", str(home.home), *words)
    terminal.expect("Pillarbox is ready: http://127.0.0.1:")
    assert state_of(home) == "running"
    terminal.kill(signal.SIGINT)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert state_of(home) == "stopped"


def test_why_it_does_not_start_is_said(home: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        shown = home.process("start", "prod", "--port", port, "--smtp-port", "0")
    assert shown.code == os.EX_CONFIG
    assert f"127.0.0.1:{port}: Address already in use" in shown.err
    assert "pillarbox.log" in shown.err
    assert state_of(home) == "stopped"


def test_two_starts_at_once_start_it_once(home: Cli) -> None:
    start = [*PROGRAM, "start", "prod", "--port", "0", "--smtp-port", "0"]
    both = [
        subprocess.Popen(start, env=home.environment, stdout=-3, stderr=-1, text=True)
        for _ in range(2)
    ]
    told = {process.communicate(timeout=60)[1]: process.returncode for process in both}
    assert 0 in told.values()
    assert [code for text, code in told.items() if "already" in text] in ([1], [os.EX_TEMPFAIL])
    assert len(pids(home.home / "prod")) == 1


def test_what_a_killed_process_left_behind_deceives_nobody_and_goes_when_deleted(home: Cli) -> None:
    home.start("prod")
    home.ok("prod", "tenants", "add", "acme")
    os.kill(pid_of(home, "prod"), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while pids(home.home / "prod") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (home.home / "prod" / "api.sock").exists()
    assert state_of(home) == "stopped"
    assert home.ok("prod", "tenants", "list", "--json").json[0]["id"] == "acme"
    home.start("prod")
    assert state_of(home) == "running"
    assert home("delete", "prod", "--yes").code == 1
    assert home("delete", "prodd", "--yes").code == 1
    home.ok("delete", "prod", "--force")
    assert not (home.home / "prod").exists()


def test_commands_on_a_stopped_instance_wait_for_each_other(home: Cli) -> None:
    (home.home / "prod").mkdir(mode=0o700, parents=True)
    (home.home / "prod" / "pillarbox.toml").touch()
    names = ["t0", "t1"]
    added = [
        subprocess.Popen(
            [*PROGRAM, "prod", "tenants", "add", name], env=home.environment, stdout=-3
        )
        for name in names
    ]
    assert [process.wait(60) for process in added] == [0, 0]
    assert [t["id"] for t in home.ok("prod", "tenants", "list", "--json").json] == names


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    cli = Cli(tmp_path / ("long" * 20) / "home")
    cli.start("prod")
    assert cli.ok("prod", "info", "--json").json["state"] == "running"
    assert cli.process("stop", "prod").code == 0


@pytest.mark.slow
def test_workers_are_each_spoken_to_and_end_with_who_started_them(
    home: Cli, postgres_dsn: str
) -> None:
    home.variables |= {
        "PILLARBOX_DB": postgres_dsn,
        "PILLARBOX_WORKERS": "2",
        "PILLARBOX_ENCRYPTION_KEY": "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE=",
    }
    ports = ("--port", str(free_port()), "--smtp-port", str(free_port()))
    assert home.process("start", "prod", *ports).code == 0
    deadline = time.monotonic() + 20
    while len(list((home.home / "prod").glob("api*.sock"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    home.ok("prod", "drain")
    active = [asyncio.run(takes_mail(path)) for path in (home.home / "prod").glob("api*.sock")]
    assert active == [False, False]
    os.kill(pid_of(home, "prod"), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while state_of(home) != "stopped" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state_of(home) == "stopped"


async def takes_mail(path: Path) -> bool:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return bool((await client.get("/status")).json()["active"])
