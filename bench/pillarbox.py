"""A Pillarbox to measure: `pillarbox serve`, of the tree that this file is in, in a folder of its
own, with its durable defaults.

The only settings given are where to listen, the admin token and the key, the database, and the
certificate where mail comes inside TLS; the account that leads to the sink has `max_connections`
20.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.peers.private_postfix import free_ports, wait_for
from tests.process import RUN

ROOT = Path(__file__).parents[1]
TENANT = "bench"
ACCOUNT = "sink"
MAX_CONNECTIONS = 20
START_S = 120
STOP_S = 90
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a tenant's mail leaves to."""

    port: int
    tls: str = "none"
    connections: int = MAX_CONNECTIONS


class Pillarbox:
    def __init__(
        self, home: Path, settings: Mapping[str, str], program: Sequence[str | Path] = RUN
    ) -> None:
        """Start it and wait until it is ready; `settings` are variables."""
        self.smtp_port, self.tls_port, self.http_port = free_ports(3)
        self.token = secrets.token_urlsafe()
        self._log = (home / "log").open("ab")
        began_at = time.monotonic()
        self._process = subprocess.Popen(
            [*program, "--home", home],
            env=self._environment(settings),
            stderr=self._log,
            cwd=ROOT,
        )
        self.admin = httpx.Client(
            base_url=f"http://127.0.0.1:{self.http_port}",
            headers={"X-API-Token": self.token},
            trust_env=False,
        )
        try:
            self._wait()
            self.start_s = time.monotonic() - began_at
            wait_for(self.smtp_port)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self.admin.close()
        self._process.terminate()
        self._process.wait(STOP_S)
        self._log.close()

    def add_tenant(self, tenant: str, upstream: Upstream) -> Login:
        """Make a tenant with an account that leads to its upstream, and a login."""
        account = {
            "id": ACCOUNT,
            "tenant_id": tenant,
            "host": "127.0.0.1",
            "port": upstream.port,
            "tls": upstream.tls,
            "verify": False,
            "max_connections": upstream.connections,
        }
        self._post("/tenant", {"id": tenant})
        self._post("/account", account)
        made = self._post("/credential", {"tenant_id": tenant, "username": tenant})
        return Login(tenant, made.json()["password"])

    def _post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        return self.admin.post(path, json=body).raise_for_status()

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if "PILLARBOX" not in name}
        own["PILLARBOX_API_TOKEN"] = self.token
        own["PILLARBOX_SMTP_LISTEN"] = f"127.0.0.1:{self.smtp_port}"
        own["PILLARBOX_HTTP_LISTEN"] = f"127.0.0.1:{self.http_port}"
        own["PILLARBOX_ENCRYPTION_KEY"] = KEY
        if "PILLARBOX_TLS_CERT" in settings:
            own["PILLARBOX_SMTPS_LISTEN"] = f"127.0.0.1:{self.tls_port}"
        return own | dict(settings)

    def _wait(self) -> None:
        """Wait until it says that it is ready. Raises RuntimeError when it ends, or never is."""
        give_up_at = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError("this Pillarbox does not start")
            time.sleep(0.005)

    def _is_ready(self) -> bool:
        try:
            return self.admin.get("/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
