"""No reply before the disk has it: seen from outside, by the system calls of a running relay.

What a power cut takes is what was written and not synced. So of each mail that was answered, the
pages that name it were written, and a sync after that had returned, before the first byte of the
reply. (A kill -9 cannot show this: the page cache outlives the process.) PostgreSQL syncs by
itself; that it is set to do so is checked on every connection, see `tests/store/test_engines.py`.
"""

import asyncio
import re
import shutil
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.process import ServeProcess

MAILS = 30
SESSIONS = 6
PAGE_BYTES = 20_000
CALLS = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"
CALL = re.compile(r"^\d+ +(\w+)\((.*)")
SYNCED = re.compile(
    r"^\d+ +(?:fsync|fdatasync)\(.*\) += 0|<\.\.\. (?:fsync|fdatasync) resumed>.*= 0"
)
PK = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
REPLY = re.compile(rf'250 2\.0\.0 Ok: queued as ({PK})|\\"pk\\":\\"({PK})\\"')


@dataclass
class Disk:
    """What of the mails is written, and what of that is synced."""

    written: set[str] = field(default_factory=set)
    synced: set[str] = field(default_factory=set)
    answered: list[str] = field(default_factory=list)
    too_early: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Follow one line of a trace."""
        if SYNCED.search(line):
            self.synced |= self.written
            return
        call = CALL.match(line)
        if call is None:
            return
        if call[1] == "pwrite64":
            self.written.update(re.findall(PK, call[2]))
            return
        for found in REPLY.finditer(call[2]):
            pk = found[1] or found[2]
            self.answered.append(pk)
            if pk not in self.synced:
                self.too_early.append(pk)


def followed(trace: Path) -> Disk:
    disk = Disk()
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            disk.take(line)
    return disk


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
async def serve(tmp_path: Path, trace: Path) -> AsyncIterator[ServeProcess]:
    strace = shutil.which("strace")
    assert strace
    prefix = (strace, "-f", "-q", "-e", CALLS, "-s", str(PAGE_BYTES), "-o", str(trace))
    url = f"sqlite:{tmp_path / 'pillarbox.db'}"
    async with ServeProcess(tmp_path / "home", url, prefix=prefix) as serve:
        await serve.post("/tenant", {"id": "acme"})
        account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": 1}
        await serve.post("/account", {**account, "use_tls": False})
        yield serve


def send_many(port: int, password: str, name: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.login("app", password)
        for number in range(MAILS):
            mail = f"Subject: {number}\r\n\r\nhi\r\n"
            client.sendmail("a@acme.test", f"{name}{number}@t.test", mail)


@pytest.mark.peers("strace")
@pytest.mark.parametrize("sessions", [1, SESSIONS])
async def test_every_250_follows_a_sync_of_its_mail(
    serve: ServeProcess, trace: Path, sessions: int
) -> None:
    """Of several sessions many mails share one commit."""
    made = await serve.post("/credential", {"tenant_id": "acme", "username": "app"})
    password = str(made["password"])
    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            sending = asyncio.to_thread(send_many, serve.smtp_port, password, f"s{number}-")
            group.create_task(sending)
    await serve.kill()
    disk = followed(trace)
    assert len(set(disk.answered)) == sessions * MAILS
    assert disk.too_early == []


@pytest.mark.peers("strace")
async def test_every_200_follows_a_sync_of_its_mails(serve: ServeProcess, trace: Path) -> None:
    async def post(session: int) -> None:
        for number in range(MAILS // 3):
            ids = [f"{session}-{number}-{place}" for place in range(3)]
            await serve.post("/commands/add-messages", {"messages": [message(id) for id in ids]})

    async with asyncio.TaskGroup() as group:
        for session in range(SESSIONS):
            group.create_task(post(session))
    await serve.kill()
    disk = followed(trace)
    assert len(set(disk.answered)) == SESSIONS * MAILS
    assert disk.too_early == []


def message(id: str) -> dict[str, object]:
    return {
        "id": id,
        "tenant_id": "acme",
        "account_id": "main",
        "from": "a@acme.test",
        "to": f"{id}@t.test",
        "subject": "x",
        "body": "x",
    }


ONE = "01900000-0000-7000-8000-000000000001"
WRITE = f'7 pwrite64(5, "\\0{ONE}\\0", 4096, 0) = 4096'
ANSWER = f'6 sendto(9, "250 2.0.0 Ok: queued as {ONE}\\r\\n", 40, 0, NULL, 0) = 40'


@pytest.mark.parametrize(
    ("lines", "is_too_early"),
    [
        ([WRITE, "7 fdatasync(5) = 0", ANSWER], False),
        (
            [WRITE, "7 fdatasync(5 <unfinished ...>", "7 <... fdatasync resumed>) = 0", ANSWER],
            False,
        ),
        ([WRITE, ANSWER, "7 fdatasync(5) = 0"], True),
        ([WRITE, "7 fdatasync(5 <unfinished ...>", ANSWER], True),
        ([WRITE, "7 fdatasync(5) = -1 EIO (Input/output error)", ANSWER], True),
        (["7 fdatasync(5) = 0", ANSWER], True),
    ],
)
def test_a_reply_that_comes_too_early_is_noticed(lines: list[str], is_too_early: bool) -> None:
    disk = Disk()
    for line in lines:
        disk.take(line)
    assert disk.answered == [ONE]
    assert bool(disk.too_early) == is_too_early
