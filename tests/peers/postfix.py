"""A real Postfix on loopback, with Dovecot to say who may log in: the upstream most relays meet.

    with Postfix() as postfix:
        account = postfix.account()              # STARTTLS, a login, its certificate verified
        ...

What it takes it hands on, in clear, to 127.0.0.1:`mailbox_port`, where a FakeUpstream shows what
arrived. `*@gone.test` is refused for good and `*@later.test` for now, both at RCPT. All of it lies
in one temporary folder and nothing of the system's own Postfix or Dovecot is touched. Needs root,
as Postfix does.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from relay.model import Account, TlsMode

USER = "app@up.test"
PASSWORD = "upstream-secret"
START_S = 20

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = up.test
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
relayhost = [127.0.0.1]:{mailbox_port}
smtp_line_length_limit = 0
smtp_connection_cache_on_demand = no
local_header_rewrite_clients =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/certificate.pem
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{gone.test = 550 5.1.1 no such user}} {{later.test = 450 4.2.0 mailbox is busy}} }}
smtpd_error_sleep_time = 0
"""

# service, type, private, unprivileged, chroot, wakeup, most processes, command
MASTER_CF = """
127.0.0.1:{port}     inet       n - n -    -  smtpd
127.0.0.1:{tls_port} inet       n - n -    -  smtpd -o smtpd_tls_wrappermode=yes
cleanup              unix       n - n -    0  cleanup
qmgr                 unix       n - n 300  1  qmgr
tlsmgr               unix       - - n 1000 1  tlsmgr
rewrite              unix       - - n -    -  trivial-rewrite
bounce               unix       - - n -    0  bounce
defer                unix       - - n -    0  bounce
trace                unix       - - n -    0  bounce
smtp                 unix       - - n -    -  smtp
error                unix       - - n -    -  error
retry                unix       - - n -    -  error
anvil                unix       - - n -    1  anvil
proxymap             unix       - - n -    -  proxymap
postlog              unix-dgram n - n -    1  postlogd
"""

DOVECOT_CONF = """
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
instance_name = {name}
protocols =
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {{
  driver = static
  args = user={user} password={password}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
# No growing delay for an address with failed logins: all tests come from one.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/spool/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""


class Postfix:
    """See the module. `port` speaks STARTTLS, `tls_port` TLS from the start; the certificate is for
    localhost.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pillarbox-postfix-"))
        self.port, self.tls_port, self.mailbox_port = free_ports(3)
        self.ca_file = self._folder / "ca.pem"

    def __enter__(self) -> "Postfix":
        self._lay_out()
        try:
            run("postfix", "-c", str(self._etc), "check")  # makes the spool with the right owners
            run("dovecot", "-c", str(self._dovecot_conf))
            run("postfix", "-c", str(self._etc), "start")
            wait_for(self.port)
            wait_for(self.tls_port)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def account(self, **changes: Any) -> Account:
        """Return an account that leads here."""
        tls = changes.get("tls", TlsMode.STARTTLS)
        values: dict[str, Any] = {
            "tenant_id": "acme",
            "id": "main",
            "host": "localhost",
            "port": self.tls_port if tls is TlsMode.IMPLICIT else self.port,
            "tls": tls,
            "tls_given": True,
            "user": USER,
            "password": PASSWORD,
            "ca_file": str(self.ca_file),
        }
        return Account(**(values | changes))

    @property
    def _etc(self) -> Path:
        return self._folder / "etc"

    @property
    def _dovecot_conf(self) -> Path:
        return self._folder / "dovecot.conf"

    def _lay_out(self) -> None:
        self._folder.chmod(0o755)
        for name in ("etc", "spool", "data", "dovecot"):
            (self._folder / name).mkdir()
        shutil.chown(self._folder / "data", "postfix")
        words = {
            "folder": self._folder,
            "name": self._folder.name,
            "port": self.port,
            "tls_port": self.tls_port,
            "mailbox_port": self.mailbox_port,
            "user": USER,
            "password": PASSWORD,
        }
        (self._etc / "main.cf").write_text(MAIN_CF.format(**words))
        (self._etc / "master.cf").write_text(MASTER_CF.format(**words))
        self._dovecot_conf.write_text(DOVECOT_CONF.format(**words))
        self._write_certificate()

    def _write_certificate(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        chain = self._folder / "certificate.pem"
        chain.touch(0o600)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(chain)

    def _stop(self) -> None:
        for stop in (
            ("postfix", "-c", str(self._etc), "stop"),
            ("doveadm", "-c", str(self._dovecot_conf), "stop"),
        ):
            subprocess.run(stop, check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def run(*command: str) -> None:
    """Start a daemon; its output goes to a file, since it would keep a pipe open for ever."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        output.seek(0)
        said = output.read().decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {said}")


def free_ports(count: int) -> list[int]:
    """Find ports that are free, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_for(port: int) -> None:
    give_up_at = time.monotonic() + START_S
    while not listens(port):
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"nothing listens on port {port}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
