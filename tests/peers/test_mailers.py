"""Programs that scripts send mail with: msmtp, s-nail and curl, to a mailbox behind the relay."""

import asyncio
import os
from collections.abc import Mapping
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors

CLIENT_S = 30
FROM = "app@acme.test"
TO = "bob@there.test"
MAIL = (
    b"From: Billing <app@acme.test>\r\nTo: bob@there.test\r\n"
    b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n.a dot\r\ngr\xc3\xbc\xc3\x9fe\r\n"
)


async def run(*command: str, said: bytes, environ: Mapping[str, str] | None = None) -> None:
    """Run a client with this on its standard input; it must be content."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environ or {})},
    )
    async with asyncio.timeout(CLIENT_S):
        heard, _ = await process.communicate(said)
    assert process.returncode == 0, heard.decode(errors="replace")


async def text_of_the_mail(upstream: FakeUpstream) -> str:
    (received,) = await upstream.wait_for(1)
    assert (received.sender, received.recipients) == (FROM, (TO,))
    body = message_from_bytes(received.content, policy=policy.default).get_content()
    return str(body).replace("\r\n", "\n")


@pytest.mark.peers("msmtp")
@pytest.mark.parametrize("method", ["plain", "login"])
@pytest.mark.parametrize("starttls", ["on", "off"])
async def test_msmtp_sends(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, method: str, starttls: str
) -> None:
    port = doors.port if starttls == "on" else doors.tls_port
    await run(
        *("msmtp", f"--file={os.devnull}", "--host=localhost", f"--port={port}", "--tls=on"),
        *(f"--tls-starttls={starttls}", f"--tls-trust-file={doors.ca_file}", f"--auth={method}"),
        *(f"--user={doors.user}", f"--passwordeval=echo '{doors.password}'", f"--from={FROM}", TO),
        said=MAIL.replace(b"\r\n", b"\n"),
    )
    assert await text_of_the_mail(upstream) == ".a dot\ngrüße\n"


@pytest.mark.peers("curl")
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_curl_sends(doors: Doors, upstream: FakeUpstream, scheme: str) -> None:
    port = doors.port if scheme == "smtp" else doors.tls_port
    await run(
        *("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", str(doors.ca_file)),
        *(f"{scheme}://localhost:{port}/client.test", "--user", f"{doors.user}:{doors.password}"),
        *("--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", "-"),
        said=MAIL,
    )
    assert await text_of_the_mail(upstream) == ".a dot\ngrüße\n"


@pytest.mark.peers("s-nail")
async def test_s_nail_sends(doors: Doors, upstream: FakeUpstream, tmp_path: Path) -> None:
    login = f"{doors.user}:{doors.password.replace(' ', '%20')}"
    options = [
        "v15-compat=yes",
        f"mta=smtps://{login}@localhost:{doors.tls_port}",
        "smtp-auth=plain",
        f"from={FROM}",
        f"tls-ca-file={doors.ca_file}",
        "tls-verify=strict",
        "ttycharset=utf-8",
        "sendwait",
    ]
    settings = [word for option in options for word in ("-S", option)]
    environ = {"HOME": str(tmp_path), "MAILRC": os.devnull}
    command = ["s-nail", "-:/", *settings, "-s", "grüße", TO]
    await run(*command, said="grüße\n".encode(), environ=environ)
    assert await text_of_the_mail(upstream) == "grüße\n"
