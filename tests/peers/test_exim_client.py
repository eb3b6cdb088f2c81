"""A real Exim that sends through the relay, as a server's own Exim does with a smarthost: with a
login inside verified TLS.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors
from tests.peers.letter import LETTER, read
from tests.peers.programs import run

pytestmark = pytest.mark.peers("exim")

CONFIGURATION = """
exim_path = {folder}/exim4
primary_hostname = gateway.acme.test
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
log_selector = +pipelining +smtp_confirmation
keep_environment =
deliver_drop_privilege = true

begin routers
own:
  driver = accept
  domains = gateway.acme.test
  transport = mailbox
smarthost:
  driver = manualroute
  transport = smarthost
  route_list = * localhost::{port} byname
  self = send

begin transports
mailbox:
  driver = appendfile
  file = {folder}/mailbox
smarthost:
  driver = smtp
  protocol = {protocol}
  hosts_require_auth = *
  hosts_require_tls = *
  tls_verify_certificates = {folder}/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *

begin retry
* * F,1h,1m

begin authenticators
login:
  driver = plaintext
  public_name = {mechanism}
  client_send = {client_send}
"""
USER = "Debian-exim"
SENDER = "app@gateway.acme.test"


class Gateway:
    """An Exim of one's own, its queue and log in one folder. It is a program and no daemon: it
    takes a mail as sendmail(8) does, and has delivered it when it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lay_out(self, doors: Doors, protocol: str, mechanism: str) -> None:
        folder = self.folder
        folder.chmod(0o755)
        shutil.chown(folder, USER, USER)
        shutil.copy(doors.ca_file, folder)
        # It runs itself anew as a user who may not look into the folder where it is.
        shutil.copy(shutil.which("exim4") or "", self._program)
        self._configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                port=doors.tls_port if protocol == "smtps" else doors.port,
                protocol=protocol,
                mechanism=mechanism,
                client_send={
                    "PLAIN": f"^{doors.user}^{doors.password}",
                    "LOGIN": f": {doors.user} : {doors.password}",
                }[mechanism],
            )
        )

    async def send(self, mail: bytes, *to: str) -> None:
        options = ("-C", str(self._configuration), "-odf", "-i", "-f", SENDER)
        code, said = await run(str(self._program), *options, "--", *to, said=mail)
        assert (code, said) == (0, "")

    @property
    def log(self) -> str:
        return (self.folder / "mainlog").read_text()

    @property
    def returned(self) -> EmailMessage:
        """The mail that came back to the sender."""
        content = (self.folder / "mailbox").read_bytes()
        return message_from_bytes(content, policy=policy.default)

    @property
    def _program(self) -> Path:
        return self.folder / "exim4"

    @property
    def _configuration(self) -> Path:
        return self.folder / "exim.conf"


Start = Callable[..., Gateway]


@pytest.fixture
def start(doors: Doors) -> Iterator[Start]:
    """Lay out an Exim whose mail leaves through the relay."""
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-exim-"))

    def start(protocol: str = "smtp", mechanism: str = "PLAIN") -> Gateway:
        gateway = Gateway(folder)
        gateway.lay_out(doors, protocol, mechanism)
        return gateway

    yield start
    shutil.rmtree(folder, ignore_errors=True)


def composed() -> bytes:
    mail = EmailMessage(policy=policy.default.clone(linesep="\n"))
    mail["From"] = f"Jörg <{SENDER}>"
    mail["To"] = "bob@there.test"
    mail["Subject"] = LETTER.subject
    mail.set_content(LETTER.text)
    mail.add_alternative(LETTER.html, subtype="html")
    for name, content in LETTER.files:
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


@pytest.mark.parametrize(("protocol", "mechanism"), [("smtp", "PLAIN"), ("smtps", "LOGIN")])
async def test_exim_sends_to_all_recipients_at_once(
    start: Start, upstream: FakeUpstream, protocol: str, mechanism: str
) -> None:
    to = ("bob@there.test", "eve@there.test", "amy@elsewhere.test")
    gateway = start(protocol, mechanism)
    await gateway.send(composed(), *to)
    [mail] = await upstream.wait_for(1)
    assert (mail.sender, sorted(mail.recipients)) == (SENDER, sorted(to))
    assert read(mail.content) == LETTER
    assert b"with ESMTPSA\r\n" in mail.content
    delivered = [line for line in gateway.log.splitlines() if " => " in line or " -> " in line]
    assert len(delivered) == len(to)
    for line in delivered:
        assert ' CV=yes A=login L C="250 2.0.0 Ok: queued as ' in line  # L: by PIPELINING


async def test_exim_sends_to_an_address_in_utf8(start: Start, upstream: FakeUpstream) -> None:
    gateway = start()
    await gateway.send(composed(), "jörg@bücher.test")
    [mail] = await upstream.wait_for(1)
    assert mail.recipients == ("jörg@xn--bcher-kva.test",)
    assert "SMTPUTF8" in mail.mail_parameters
    assert read(mail.content) == LETTER


async def test_exim_returns_to_the_sender_what_we_refuse(
    start: Start, upstream: FakeUpstream
) -> None:
    gateway = start()
    await gateway.send(composed(), "gone%away@there.test", "bob@there.test")
    [mail] = await upstream.wait_for(1)
    assert mail.recipients == ("bob@there.test",)
    returned = gateway.returned
    assert (returned["To"], returned["X-Failed-Recipients"]) == (SENDER, "gone%away@there.test")
    text, _, original = returned.iter_parts()
    assert "after RCPT TO:<gone%away@there.test>:\n    550 5.7.1 " in text.get_content()
    assert "bob@there.test" not in text.get_content()
    assert read(original.get_content().as_bytes()) == LETTER
