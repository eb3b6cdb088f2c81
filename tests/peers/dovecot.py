"""A real Dovecot on loopback: IMAP in clear and inside TLS, mail delivered to it by LMTP.

    with Dovecot() as dovecot:
        dovecot.deliver("bounces", b"Subject: ...")
        account = dovecot.mailbox("bounces")          # the imap_* of an account

Any user is let in with the one password, and has a mailbox of its own. All of it lies in one
temporary folder; nothing under /etc is read or written. Needs root, as Dovecot does.
"""

import imaplib
import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from tests.peers.private_postfix import free_ports, listens, run_daemon, wait_for

PASSWORD = r'mailbox"secret"\of+the(tests'

CONF = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
instance_name = {folder.name}
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/certificate.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
mail_location = maildir:{folder}/mail/%n
mail_max_userip_connections = 100
first_valid_uid = 1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%n allow_all_users=yes
}}
# No growing delay for an address with failed logins: all tests come from one.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
"""
STOP_S = 10
VALIDITY = re.compile(r"^(\d+ V)(\d+)", re.MULTILINE)


class Dovecot:
    """See the module. `port` is in clear, `tls_port` inside TLS (as localhost)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pillarbox-dovecot-"))
        self.port, self.tls_port, self.lmtp_port = free_ports(3)
        self.ca_file = self.folder / "ca.pem"

    def __enter__(self) -> "Dovecot":
        try:
            self._lay_out()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        run_daemon("dovecot", "-c", str(self._conf))
        for port in (self.port, self.tls_port, self.lmtp_port):
            wait_for(port)

    def stop(self) -> None:
        """End it with every connection, as a power cut does."""
        pid_file = self.folder / "run" / "master.pid"
        if not pid_file.exists():
            return
        # Its processes are one group: those of open connections would outlive a polite stop.
        with suppress(ProcessLookupError):
            os.killpg(int(pid_file.read_text()), signal.SIGKILL)
        pid_file.unlink()  # who was killed may not be buried yet
        for port in (self.port, self.tls_port, self.lmtp_port):
            wait_until_free(port)

    def settings(self, user: str, *, is_tls: bool = False) -> dict[str, Any]:
        """Return what an account needs to have this mailbox."""
        return {
            "imap_host": "localhost" if is_tls else "127.0.0.1",
            "imap_port": self.tls_port if is_tls else self.port,
            "imap_user": user,
            "imap_password": PASSWORD,
            "imap_ssl": is_tls,
            "ca_file": str(self.ca_file) if is_tls else None,
        }

    def deliver(self, user: str, *mails: bytes) -> None:
        """Deliver as a mail server does."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as lmtp:
            for mail in mails:
                lmtp.sendmail("", [f"{user}@mail.test"], mail)

    def pile_up(self, user: str, mails: Iterable[bytes]) -> None:
        """Put mails into the folder of new mail, which is quicker than to deliver them."""
        maildir = self.folder / "mail" / user
        for name in ("tmp", "new", "cur"):
            (maildir / name).mkdir(parents=True, exist_ok=True)
        for number, mail in enumerate(mails):
            (maildir / "new" / f"1700000000.{number:06}.here").write_bytes(mail)
        subprocess.run(["chown", "-R", "mail:mail", str(maildir)], check=True)

    def renumber(self, user: str) -> None:
        """Have the mailbox count its mails anew, as after a restored backup; while stopped."""
        maildir = self.folder / "mail" / user
        uid_list = maildir / "dovecot-uidlist"
        text = uid_list.read_text()
        uid_list.write_text(VALIDITY.sub(lambda m: f"{m[1]}{int(m[2]) + 7}", text, count=1))
        for path in maildir.glob("dovecot.index*"):
            path.unlink()

    @contextmanager
    def client(self, user: str) -> Iterator[imaplib.IMAP4]:
        """Log in as a person would."""
        client = imaplib.IMAP4("127.0.0.1", self.port)
        client.login(user, PASSWORD)
        try:
            yield client
        finally:
            client.logout()

    def flags(self, user: str, folder: str = "INBOX") -> list[set[str]]:
        """Return the flags of each mail in a folder, \\Recent apart."""
        with self.client(user) as client:
            found = client.select(folder, readonly=True)[0]
            assert found == "OK", folder
            lines = client.fetch("1:*", "(FLAGS)")[1]
        return [
            {flag.decode() for flag in imaplib.ParseFlags(line)} - {r"\Recent"}
            for line in lines
            if isinstance(line, bytes)
        ]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def _conf(self) -> Path:
        return self.folder / "dovecot.conf"

    def _lay_out(self) -> None:
        self.folder.chmod(0o755)
        (self.folder / "run").mkdir()
        (self.folder / "mail").mkdir()
        shutil.chown(self.folder / "mail", "mail", "mail")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        certificate = self.folder / "certificate.pem"
        certificate.touch(0o600)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        self._conf.write_text(
            CONF.format(
                folder=self.folder,
                password=PASSWORD,
                port=self.port,
                tls_port=self.tls_port,
                lmtp_port=self.lmtp_port,
            )
        )


def wait_until_free(port: int) -> None:
    """Wait until nobody listens on this port any more."""
    give_up_at = time.monotonic() + STOP_S
    while listens(port):
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"port {port} is still listened on")
        time.sleep(0.02)
