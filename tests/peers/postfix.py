"""A real Postfix on loopback, with Dovecot to say who may log in: the upstream most relays meet.

    with Postfix() as postfix:
        account = postfix.account()              # STARTTLS, a login, its certificate verified
        ...

What it takes it hands on, in clear, to 127.0.0.1:`mailbox_port`, where a FakeUpstream shows what
arrived. `*@gone.test` is refused for good and `*@later.test` for now, both at RCPT. All of it lies
in one temporary folder. Needs root, as Postfix does.
"""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from relay.model import Account, TlsMode
from tests.peers.private_postfix import PrivatePostfix, free_ports, run_daemon

USER = "app@up.test"
PASSWORD = "upstream-secret"

SETTINGS = """
myhostname = up.test
mynetworks =
relayhost = [127.0.0.1]:{mailbox_port}
smtp_line_length_limit = 0
smtp_connection_cache_on_demand = no
local_header_rewrite_clients =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {certificate}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{gone.test = 550 5.1.1 no such user}} {{later.test = 450 4.2.0 mailbox is busy}} }}
smtpd_error_sleep_time = 0
"""

DOVECOT_CONF = """
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
instance_name = {folder.name}
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
        folder = Path(tempfile.mkdtemp(prefix="pillarbox-postfix-"))
        self.port, self.tls_port, self.mailbox_port = free_ports(3)
        self.ca_file = folder / "ca.pem"
        self._certificate = folder / "certificate.pem"
        self._dovecot_conf = folder / "dovecot.conf"
        settings = SETTINGS.format(mailbox_port=self.mailbox_port, certificate=self._certificate)
        doors = {self.port: "", self.tls_port: "-o smtpd_tls_wrappermode=yes"}
        self._postfix = PrivatePostfix(folder, settings, doors)

    def __enter__(self) -> "Postfix":
        try:
            self._write_certificate()
            self._postfix.lay_out()
            self._start_dovecot()
            self._postfix.start()
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
        return self._postfix.log

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

    def _write_certificate(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        leaf = authority.issue_cert("localhost")
        self._certificate.touch(0o600)
        leaf.private_key_and_cert_chain_pem.write_to_path(self._certificate)

    def _start_dovecot(self) -> None:
        folder = self._postfix.folder
        (folder / "dovecot").mkdir()
        text = DOVECOT_CONF.format(folder=folder, user=USER, password=PASSWORD)
        self._dovecot_conf.write_text(text)
        run_daemon("dovecot", "-c", str(self._dovecot_conf))

    def _stop(self) -> None:
        stop = ["doveadm", "-c", str(self._dovecot_conf), "stop"]
        subprocess.run(stop, check=False, capture_output=True)
        self._postfix.stop()
