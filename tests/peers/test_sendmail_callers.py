"""Programs that call sendmail(8), with pillarbox-sendmail in its place."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream, Received

CALLER_S = 30


@pytest.fixture
async def relay() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    program = tmp_path / "sendmail"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path.cwd())!r})\n"
        "from cli.sendmail.program import main\nmain()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def environment(tmp_path: Path, relay: FakeUpstream) -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PILLARBOX_SENDMAIL_SERVER": f"127.0.0.1:{relay.port}",
        "PILLARBOX_SENDMAIL_DOMAIN": "acme.test",
        "PILLARBOX_SENDMAIL_ALIASES": "root=ops@acme.test",
    }


async def run(
    *command: str | Path, environment: Mapping[str, str], stdin: bytes = b"", cwd: Path
) -> str:
    """Run a caller that has to succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=cwd,
    )
    async with asyncio.timeout(CALLER_S):
        said, _ = await process.communicate(stdin)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def only(relay: FakeUpstream) -> Received:
    [mail] = await relay.wait_for(1)
    return mail


@pytest.mark.peers("php")
async def test_php_mail(
    relay: FakeUpstream, sendmail: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    code = (
        '$ok = mail("bob@there.test", "Grüße", "one\\n.\\ntwo", '
        '["From" => "App <app@acme.test>", "Bcc" => "eve@there.test"], "-fbounce@acme.test");'
        "exit($ok ? 0 : 1);"
    )
    path = f"sendmail_path={sendmail} -t -i"
    await run("php", "-n", "-d", path, "-r", code, environment=environment, cwd=tmp_path)
    mail = await only(relay)
    assert (mail.sender, set(mail.recipients)) == (
        "bounce@acme.test",
        {"bob@there.test", "eve@there.test"},
    )
    assert b"eve" not in mail.content
    assert mail.content.endswith(b"\r\n\r\none\r\n.\r\ntwo\r\n")


@pytest.mark.peers("git")
async def test_git_send_email(
    relay: FakeUpstream, sendmail: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    patch = tmp_path / "0001-Say-hello.patch"
    patch.write_text(
        "From 5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e Mon Sep 17 00:00:00 2001\n"
        "From: Ann <ann@acme.test>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n"
        "Subject: [PATCH] Say hello\n\n---\n hello | 1 +\n"
    )
    await run(
        *("git", "send-email", "--quiet", "--confirm=never", f"--smtp-server={sendmail}"),
        *("--from=Ann <ann@acme.test>", "--to=bob@there.test", "--cc=eve@there.test", patch),
        environment={**environment, "GIT_CONFIG_NOSYSTEM": "1", "EMAIL": "ann@acme.test"},
        cwd=tmp_path,
    )
    mail = await only(relay)
    assert mail.sender == "ann@acme.test"
    assert set(mail.recipients) >= {"bob@there.test", "eve@there.test"}
    assert b"Subject: [PATCH] Say hello\r\n" in mail.content


@pytest.mark.peers("s-nail")
async def test_s_nail(
    relay: FakeUpstream, sendmail: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    await run(
        *("s-nail", "-:/", "-S", f"mta={sendmail}", "-S", "sendwait"),
        *("-r", "app@acme.test", "-s", "Hello", "root"),
        environment=environment,
        stdin=b"hi\n",
        cwd=tmp_path,
    )
    mail = await only(relay)
    assert (mail.sender, mail.recipients) == ("app@acme.test", ("ops@acme.test",))


@pytest.mark.peers("mutt")
async def test_mutt(
    relay: FakeUpstream, sendmail: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    settings = (f"set sendmail='{sendmail} -oem -oi'", "set from=app@acme.test", "set copy=no")
    options = [word for text in (*settings, "set use_envelope_from") for word in ("-e", text)]
    await run(
        *("mutt", "-n", "-F", "/dev/null", *options, "-s", "Hello", "--", "bob@there.test"),
        environment=environment,
        stdin=b"hi\n",
        cwd=tmp_path,
    )
    mail = await only(relay)
    assert (mail.sender, mail.recipients) == ("app@acme.test", ("bob@there.test",))


async def test_what_cron_does(
    relay: FakeUpstream, sendmail: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """As Debian's cron calls it, and what it writes."""
    said = (
        b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@web> run-parts\n"
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\nfailed\n"
    )
    options = ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
    await run(sendmail, *options, environment=environment, stdin=said, cwd=tmp_path)
    mail = await only(relay)
    assert (mail.sender, mail.recipients) == ("ops@acme.test", ("ops@acme.test",))
    assert b"\r\nFrom: Cron Daemon <ops@acme.test>\r\nTo: ops@acme.test\r\n" in mail.content
