"""Descriptors run out: who comes then waits or is turned away, nothing turns in circles, and when
there are some again mail is taken as before.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import aiosmtplib
import pytest

from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.test_crash import Ledger, prepare, send_by_smtp
from tests.waiting import until

DESCRIPTORS = 64
MOST_PROCESSOR_SHARE = 0.5
WATCHED_S = 2.0


def processor_s(pid: int) -> float:
    """How long a process has computed (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
async def test_without_descriptors_it_waits_and_then_takes_mail_again(
    database_url: str, tmp_path: Path
) -> None:
    limited = ("prlimit", f"--nofile={DESCRIPTORS}")
    async with (
        FakeUpstream() as upstream,
        ServeProcess(tmp_path / "home", database_url, prefix=limited) as serve,
    ):
        password = await prepare(serve, upstream)
        assert serve.process
        clients = [
            await asyncio.open_connection("127.0.0.1", serve.smtp_port)
            for _ in range(DESCRIPTORS + 20)
        ]
        await all_taken(serve.process.pid)
        before = processor_s(serve.process.pid)
        # This is what is measured, not waited for.
        await asyncio.sleep(WATCHED_S)
        assert processor_s(serve.process.pid) - before < WATCHED_S * MOST_PROCESSOR_SHARE
        for _, writer in clients:
            writer.close()
        ledger = Ledger()
        sending = asyncio.create_task(keep_sending(serve, password, ledger))
        await upstream.wait_for(3, 20)
        ledger.is_closed = True
        await sending
        assert (await serve.client.get("/ready")).status_code == 200
        assert await serve.terminate() == 0


async def all_taken(pid: int) -> None:
    async def none_left() -> bool:
        return len(os.listdir(f"/proc/{pid}/fd")) >= DESCRIPTORS - 1

    await until(none_left)


async def keep_sending(serve: ServeProcess, password: str, ledger: Ledger) -> None:
    while not ledger.is_closed:
        with suppress(aiosmtplib.SMTPException, OSError):
            await send_by_smtp(serve, password, ledger)
        await asyncio.sleep(0.05)
