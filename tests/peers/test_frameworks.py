"""Mail libraries that applications are built on: Django, PHPMailer and JavaMail, each with its own
idea of how to log in, encode and report, to a mailbox behind the relay.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream, Received
from tests.peers.conftest import JAVAMAIL_JARS, Doors
from tests.peers.letter import LETTER, read
from tests.peers.programs import run

HERE = Path(__file__).parent
ALL = ("bob@there.test", "eve@there.test", "secret@there.test")
REFUSED = "gone%away@there.test"  # an address that would route through us (550 5.7.1)


def told(folder: Path, **more: object) -> str:
    """Say in JSON what to send."""
    return json.dumps({**asdict(LETTER), **more, "files": LETTER.save_files(folder)}, default=str)


async def arrived(upstream: FakeUpstream, recipients: tuple[str, ...]) -> Received:
    """Return the one mail, which must be ours in all its parts."""
    [mail] = await upstream.wait_for(1)
    assert mail.sender == "app@acme.test"
    assert mail.recipients == recipients
    assert read(mail.content) == LETTER
    assert b"secret@" not in mail.content
    return mail


@pytest.mark.peers("django")
@pytest.mark.parametrize("inside_tls", [False, True])
async def test_django_sends_mails_over_one_connection(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, inside_tls: bool
) -> None:
    settings = {
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": doors.tls_port if inside_tls else doors.port,
        "EMAIL_HOST_USER": doors.user,
        "EMAIL_HOST_PASSWORD": doors.password,
        "EMAIL_USE_TLS": not inside_tls,
        "EMAIL_USE_SSL": inside_tls,
        "DEFAULT_FROM_EMAIL": "Jörg <app@acme.test>",
    }
    mails = [
        {"to": ["Bob Müller <bob@there.test>"], "bcc": ["secret@there.test"]},
        {"to": ["eve@bücher.test"]},
    ]
    code, said = await run(
        *(sys.executable, str(HERE / "django_mail.py")),
        told(tmp_path, settings=settings, mails=mails),
        environ={"SSL_CERT_FILE": str(doors.ca_file)},
    )
    assert (code, said.split("\n")) == (0, ["sent 1", "sent 1", ""])
    received = await upstream.wait_for(2)
    assert {mail.recipients for mail in received} == {
        ("bob@there.test", "secret@there.test"),
        ("eve@xn--bcher-kva.test",),
    }
    for mail in received:
        assert mail.sender == "app@acme.test"
        assert read(mail.content) == LETTER
        assert b"secret@" not in mail.content


@pytest.mark.peers("phpmailer")
@pytest.mark.parametrize(
    ("secure", "auth_type", "chosen"),
    [("tls", "", "LOGIN"), ("ssl", "", "LOGIN"), ("tls", "PLAIN", "PLAIN")],
)
async def test_phpmailer_sends(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, secure: str, auth_type: str, chosen: str
) -> None:
    settings = php_settings(doors, SMTPSecure=secure, AuthType=auth_type)
    code, said = await phpmailer(doors, tmp_path, settings, *ALL[:2])
    assert code == 0, said
    assert f"CLIENT -> SERVER: AUTH {chosen}" in said
    await arrived(upstream, ALL)


@pytest.mark.peers("phpmailer")
async def test_phpmailer_asks_for_notices_and_tells_whom_we_refuse(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path
) -> None:
    settings = php_settings(doors, SMTPSecure="tls", dsn="SUCCESS,FAILURE")
    code, said = await phpmailer(doors, tmp_path, settings, ALL[0], REFUSED)
    assert code == 1
    assert "SERVER -> CLIENT: 550 5.7.1 " in said
    assert f"recipients failed: {REFUSED}: " in said
    mail = await arrived(upstream, (ALL[0], ALL[2]))
    assert all("NOTIFY=SUCCESS,FAILURE" in words for words in mail.rcpt_parameters)


def php_settings(doors: Doors, **more: object) -> dict[str, object]:
    port = doors.tls_port if more["SMTPSecure"] == "ssl" else doors.port
    return {"Port": port, "Username": doors.user, "Password": doors.password, **more}


async def phpmailer(
    doors: Doors, folder: Path, settings: dict[str, object], *to: str
) -> tuple[int, str]:
    words = told(folder, settings=settings, ca_file=doors.ca_file, to=to)
    return await run("php", str(HERE / "phpmailer.php"), words)


@pytest.fixture
async def trusted(doors: Doors, tmp_path: Path) -> list[str]:
    """Make a store of the authority that Java is to trust; return the properties that name it."""
    store = f"{tmp_path}/trusted.p12"
    code, said = await run(
        *("keytool", "-importcert", "-noprompt", "-file", str(doors.ca_file)),
        *("-keystore", store, "-storepass", "secret"),
    )
    assert code == 0, said
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=secret"]


def java_settings(doors: Doors, protocol: str, **more: str) -> list[str]:
    """Say JavaMail's settings of a protocol, "smtp" or "smtps"."""
    settings = {
        "host": "localhost",
        "port": str(doors.tls_port if protocol == "smtps" else doors.port),
        "auth": "true",
        "ssl.checkserveridentity": "true",
        **({} if protocol == "smtps" else {"starttls.required": "true"}),
        **more,
    }
    return [
        f"-Dmail.transport.protocol.rfc822={protocol}",
        *(f"-Dmail.{protocol}.{name}={value}" for name, value in settings.items()),
    ]


async def javamail(doors: Doors, folder: Path, properties: list[str], *to: str) -> tuple[int, str]:
    letter = (LETTER.subject, LETTER.text, LETTER.html, *LETTER.save_files(folder))
    return await run(
        *("java", "-cp", ":".join(JAVAMAIL_JARS), *properties, str(HERE / "JavaMail.java")),
        *(doors.user, doors.password, *letter, *to),
    )


@pytest.mark.peers("javamail")
@pytest.mark.parametrize(("protocol", "mechanism"), [("smtp", "LOGIN"), ("smtps", "PLAIN")])
async def test_javamail_sends(
    doors: Doors,
    upstream: FakeUpstream,
    tmp_path: Path,
    trusted: list[str],
    protocol: str,
    mechanism: str,
) -> None:
    asked = {"auth.mechanisms": mechanism, "dsn.notify": "SUCCESS,FAILURE", "dsn.ret": "HDRS"}
    properties = [*trusted, *java_settings(doors, protocol, **asked)]
    code, said = await javamail(doors, tmp_path, properties, *ALL[:2])
    assert (code, said) == (0, "sent\n")
    mail = await arrived(upstream, ALL)
    assert "RET=HDRS" in mail.mail_parameters
    assert all("NOTIFY=SUCCESS,FAILURE" in words for words in mail.rcpt_parameters)


@pytest.mark.peers("javamail")
async def test_javamail_sends_to_addresses_in_utf8(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, trusted: list[str]
) -> None:
    properties = [*trusted, *java_settings(doors, "smtp"), "-Dmail.mime.allowutf8=true"]
    code, said = await javamail(doors, tmp_path, properties, "jörg@bücher.test")
    assert (code, said) == (0, "sent\n")
    mail = await arrived(upstream, ("jörg@xn--bcher-kva.test", ALL[2]))
    assert "SMTPUTF8" in mail.mail_parameters
    assert "\r\nTo: jörg@bücher.test\r\n".encode() in mail.content


@pytest.mark.peers("javamail")
async def test_javamail_sends_a_part_and_tells_whom_we_refuse(
    doors: Doors, upstream: FakeUpstream, tmp_path: Path, trusted: list[str]
) -> None:
    properties = [*trusted, *java_settings(doors, "smtp", sendpartial="true")]
    code, said = await javamail(doors, tmp_path, properties, ALL[0], REFUSED)
    assert code == 1
    assert f"sent to [{ALL[0]}, {ALL[2]}]\nrefused [{REFUSED}]\n" in said
    assert "\n550 5.7.1 " in said
    await arrived(upstream, (ALL[0], ALL[2]))
