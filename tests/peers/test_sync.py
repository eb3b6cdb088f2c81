"""No 250 before the disk has it: seen from outside, by the system calls of a running relay."""

import asyncio
import re
import shutil
import smtplib
from pathlib import Path

import pytest

from tests.process import ServeProcess

MAILS = 30
CALL = re.compile(r"(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)")
CALLS = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"


def send_many(port: int, password: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.login("app", password)
        for number in range(MAILS):
            client.sendmail("a@acme.test", f"r{number}@t.test", f"Subject: {number}\r\n\r\nhi\r\n")


def steps(trace: str) -> list[str]:
    """Return what matters of a trace, in order: write (to the database), sync, reply (250 to
    DATA).
    """
    found = []
    for line in trace.splitlines():
        match = CALL.search(line)
        if match is None:
            continue
        call, rest = match.groups()
        if call == "pwrite64":
            found.append("write")
        elif call in ("fsync", "fdatasync"):
            found.append("sync")
        elif "250 2.0.0 Ok: queued as" in rest:
            found.append("reply")
    return found


@pytest.mark.peers("strace")
async def test_every_250_follows_a_sync_of_what_was_written(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    assert strace
    trace = tmp_path / "trace"
    prefix = (strace, "-f", "-q", "-e", CALLS, "-s", "80", "-o", str(trace))
    url = f"sqlite:{tmp_path / 'pillarbox.db'}"
    async with ServeProcess(tmp_path / "home", url, prefix=prefix) as serve:
        await serve.post("/tenant", {"id": "acme"})
        # Nothing is sent on, so every write and sync in the trace is one of acceptance.
        account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": 1}
        await serve.post("/account", {**account, "use_tls": False})
        made = await serve.post("/credential", {"tenant_id": "acme", "username": "app"})
        await asyncio.to_thread(send_many, serve.smtp_port, str(made["password"]))
        await serve.kill()
    seen = steps(trace.read_text())
    assert seen.count("reply") == MAILS
    before = 0
    for place, step in enumerate(seen):
        if step == "reply":
            since = seen[before:place]
            assert "write" in since, "a reply without a write"
            last_write = len(since) - 1 - since[::-1].index("write")
            synced = "sync" in since[since.index("write") :]
            assert synced, f"no sync after the write: {since}"
            assert last_write >= 0
            before = place + 1
