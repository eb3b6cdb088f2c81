"""swaks, the Swiss Army knife of SMTP: its ways into TLS and through AUTH, and what it can send."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors
from tests.peers.letter import LETTER, Letter, read
from tests.peers.programs import run

pytestmark = pytest.mark.peers("swaks")

TO = ("bob@there.test", "eve@there.test")
# swaks writes a file's name as it is, and only ASCII may stand so in a parameter of a header.
SENT = replace(LETTER, files=(("overview.bin", LETTER.files[0][1]),))


async def swaks(doors: Doors, *options: str, to: tuple[str, ...] = TO) -> tuple[int, str]:
    inside_tls = {"--tls-on-connect", "-tlsc", "SSMTPA"}.intersection(options)
    return await run(
        *("swaks", "--server", "localhost", "--helo", "client.test"),
        *("--port", str(doors.tls_port if inside_tls else doors.port)),
        *("--from", "app@acme.test", "--to", ",".join(to)),
        *("--auth-user", doors.user, "--auth-password", doors.password),
        *("--tls-verify", "--tls-ca-path", str(doors.ca_file)),
        *options,
    )


def parts(letter: Letter, folder: Path) -> list[str]:
    """Return the options that say what to send."""
    [path] = letter.save_files(folder)
    return [
        *("--header", f"Subject: {letter.subject}"),
        *("--attach-type", "text/plain; charset=utf-8", "--attach-body", letter.text),
        *("--attach-type", "text/html; charset=utf-8", "--attach-body", letter.html),
        *("--attach-type", "application/octet-stream", "--attach", f"@{path}"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        "--tls --auth PLAIN",
        "--tls --auth LOGIN",
        "--tls --auth CRAM-MD5,DIGEST-MD5,LOGIN",
        "--tls --auth-optional PLAIN",
        "--tls --auth-optional-strict LOGIN",
        "--tls-optional --auth",
        "--tls-optional-strict --auth",
        "--tls-on-connect --auth PLAIN",
        "-tlsc --auth LOGIN",
        "--protocol ESMTPSA",
        "--protocol SSMTPA",
        "--tls --tls-protocol tlsv1_2 --auth",
        "--tls --tls-protocol tlsv1_3 --auth",
        "--tls --tls-sni localhost --auth",
        "--tls --auth PLAIN --pipeline",
        "-tlsc --auth LOGIN --pipeline",
    ],
)
async def test_swaks_sends(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, options: str
) -> None:
    code, said = await swaks(doors, *options.split(), *parts(SENT, tmp_path))
    assert code == 0, said
    [mail] = await upstream.wait_for(1)
    assert (mail.sender, mail.recipients) == ("app@acme.test", TO)
    assert read(mail.content) == SENT
    assert b"with ESMTPSA\r\n" in mail.content


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_shows_no_password_and_is_let_in(
    doors: Doors, upstream: FakeUpstream, mechanism: str
) -> None:
    code, said = await swaks(
        *(doors, "--tls", "--auth", mechanism, "--auth-hide-password", "--auth-plaintext"),
        *("--header", "Content-Type: text/plain; charset=utf-8", "--body", LETTER.text),
    )
    assert code == 0, said
    assert "PROVIDED_BUT_REMOVED" in said
    assert doors.password not in said
    [mail] = await upstream.wait_for(1)
    assert read(mail.content).text.rstrip() == LETTER.text


async def test_swaks_may_not_speak_a_tls_that_is_too_old(
    doors: Doors, upstream: FakeUpstream
) -> None:
    code, said = await swaks(doors, "--tls", "--tls-protocol", "tlsv1_1", "--auth")
    assert code != 0
    assert "TLS startup failed" in said
    assert "MAIL FROM" not in said


async def test_a_recipient_in_utf8_is_refused_to_swaks_and_the_other_gets_the_mail(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """swaks knows nothing of SMTPUTF8 and sends the octets alone."""
    options = ("--tls", "--auth", "--pipeline", *parts(SENT, tmp_path))
    code, said = await swaks(doors, *options, to=("jörg@there.test", "bob@there.test"))
    assert code == 0, said
    assert "550 5.6.7 " in said
    [mail] = await upstream.wait_for(1)
    assert mail.recipients == ("bob@there.test",)
    assert read(mail.content) == SENT
