"""The command line as its users meet it: the demo, starting and stopping, and the mistakes people
make.
"""

import asyncio
import os
import signal
import smtplib
import socket
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.process import KEY, RUN, TOKEN, ServeProcess

PILLARBOX = RUN[:-1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILLARBOX_", "GMP_"))}
    return subprocess.run(
        [*PILLARBOX, *arguments],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=60,
        check=False,
    )


def test_help_says_what_there_is() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "demo" in shown.stdout
    assert "serve" in shown.stdout
    assert run("--version").stdout.strip() == f"pillarbox, version {version('pillarbox')}"


def test_a_typo_is_a_usage_error() -> None:
    shown = run("serv")
    assert shown.returncode == 2
    assert "did you mean 'serve'" in shown.stderr


def test_the_demo_delivers_by_smtp_and_rest_and_tells_how_to_go_on() -> None:
    shown = run("demo", "--once", "--smtp-port", "0", "--http-port", "0")
    assert shown.returncode == 0, shown.stderr
    assert "Sent by SMTP: sent to bob@example.org" in shown.stdout
    assert "Sent by REST: sent to carol@example.org" in shown.stdout
    for words in ("swaks --server 127.0.0.1:", "curl -s http://127.0.0.1:", "import smtplib"):
        assert words in shown.stdout


async def test_what_the_demo_prints_can_be_pasted() -> None:
    demo = await asyncio.create_subprocess_exec(
        *PILLARBOX, "demo", "--smtp-port", "0", "--http-port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert demo.stdout
    shown = ""
    async with asyncio.timeout(30):
        while "Ctrl-C ends the demo" not in shown:
            shown += (await demo.stdout.readline()).decode()
        commands = shown.partition("nothing leaves")[2] or shown.partition("goes nowhere.")[2]
        python = commands[commands.index("python3 -c") : commands.rindex("curl -s")]
        curl = commands[commands.index("curl -s") : commands.index("python3 -c")]
        for command in (python, curl):
            pasted = await asyncio.create_subprocess_shell(
                command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, err = await pasted.communicate()
            assert pasted.returncode == 0, (out, err)
        later = ""
        while later.count("Hello: sent to you@example.org") < 2:
            later += (await demo.stdout.readline()).decode()
        demo.send_signal(signal.SIGINT)
        assert await demo.wait() == 0


def test_every_mistake_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir(mode=0o700)
    (tmp_path / "default" / "pillarbox.toml").write_text("[smtp]\nlisen = '127.0.0.1:25'\n")
    shown = run("serve", "--home", str(tmp_path), PILLARBOX_RETRY_JITTER="much", PILLARBOX_DBB="x")
    assert shown.returncode == os.EX_CONFIG
    assert "smtp.lisen" in shown.stderr
    assert "smtp.listen" in shown.stderr
    assert "PILLARBOX_RETRY_JITTER" in shown.stderr
    assert "PILLARBOX_DBB" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        shown = run(
            "serve",
            "--home",
            str(tmp_path),
            "--http-listen",
            address,
            "--smtp-listen",
            "127.0.0.1:0",
        )
        assert shown.returncode == os.EX_CONFIG
        assert address in shown.stderr
        other = run(
            "serve",
            "--home",
            str(tmp_path),
            "--smtp-listen",
            address,
            "--http-listen",
            "127.0.0.1:0",
        )
        assert other.returncode == os.EX_CONFIG
        assert address in other.stderr
    assert "Traceback" not in shown.stderr + other.stderr


def test_a_database_server_that_is_away_is_said_so(tmp_path: Path) -> None:
    shown = run(
        "serve", "--home", str(tmp_path),
        PILLARBOX_DB="postgresql://x:hidden@127.0.0.1:1/y", PILLARBOX_ENCRYPTION_KEY=KEY,
    )  # fmt: skip
    assert shown.returncode == 69
    assert "PostgreSQL" in shown.stderr
    assert "hidden" not in shown.stderr
    assert "Traceback" not in shown.stderr


async def test_a_second_process_on_the_same_embedded_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'x.db'}"
    async with ServeProcess(tmp_path / "home", url) as first:
        shown = await asyncio.to_thread(
            run, "serve", "--home", str(tmp_path / "home"), "--smtp-listen", "127.0.0.1:0",
            "--http-listen", "127.0.0.1:0", PILLARBOX_DB=url, PILLARBOX_ENCRYPTION_KEY=KEY,
        )  # fmt: skip
        assert shown.returncode == os.EX_TEMPFAIL
        assert first.process
        assert f"pid {first.process.pid}" in shown.stderr


async def test_a_first_start_makes_what_is_missing_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with ServeProcess(home, "", PILLARBOX_ENCRYPTION_KEY="", PILLARBOX_API_TOKEN="") as serve:
        instance = home / "default"
        token = (instance / "api_token").read_text().strip()
        answer = await serve.client.get("/tenants", headers={"X-API-Token": token})
        assert answer.status_code == 200
        assert instance.stat().st_mode & 0o077 == 0
        for name in ("api_token", "encryption_key", "pillarbox.db"):
            assert (instance / name).stat().st_mode & 0o077 == 0
        assert await serve.terminate() == 0
        assert token not in serve.log()
    with sqlite3.connect(instance / "pillarbox.db") as database:
        assert database.execute("PRAGMA page_size").fetchone() == (16384,)


async def test_another_encryption_key_than_before_is_refused_before_a_port_opens(
    tmp_path: Path, database_url: str
) -> None:
    async with ServeProcess(tmp_path / "home", database_url) as serve:
        await serve.terminate()
    port = free_port()
    shown = await asyncio.to_thread(
        run, "serve", "--home", str(tmp_path / "home"), "--smtp-listen", f"127.0.0.1:{port}",
        PILLARBOX_DB=database_url, PILLARBOX_API_TOKEN=TOKEN,
        PILLARBOX_ENCRYPTION_KEY="b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Q=",
    )  # fmt: skip
    assert shown.returncode == os.EX_CONFIG
    assert "encryption_key" in shown.stderr
    assert "listening" not in shown.stderr


async def test_sigterm_ends_a_node_in_order_while_clients_are_connected(tmp_path: Path) -> None:
    async with ServeProcess(tmp_path / "home", f"sqlite:{tmp_path / 'x.db'}") as serve:
        with smtplib.SMTP("127.0.0.1", serve.smtp_port, timeout=10) as client:
            client.ehlo("t")
            assert await serve.terminate(15) == 0
            assert [e["event"] for e in serve.events("stopped")] == ["stopped"]
            client.close()


@pytest.mark.slow
async def test_workers_share_the_ports_and_one_that_dies_is_replaced(
    tmp_path: Path, postgres_dsn: str
) -> None:
    async with ServeProcess(tmp_path / "home", postgres_dsn, PILLARBOX_WORKERS="2") as serve:
        assert serve.process
        async with asyncio.timeout(30):
            while len(serve.events("started")) < 2:
                await asyncio.sleep(0.05)
            children = f"/proc/{serve.process.pid}/task/{serve.process.pid}/children"
            first = Path(children).read_text().split()
            assert len(first) == 2
            os.kill(int(first[0]), signal.SIGKILL)
            while len(serve.events("started")) < 3:
                await asyncio.sleep(0.05)
        assert len({str(e["node"]) for e in serve.events("started")}) >= 2
        assert await serve.terminate() == 0


def test_workers_on_the_embedded_database_are_refused(tmp_path: Path) -> None:
    shown = run("serve", "--home", str(tmp_path), "--workers", "2")
    assert shown.returncode == os.EX_CONFIG
    assert "PostgreSQL" in shown.stderr
