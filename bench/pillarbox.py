"""A Pillarbox to measure: `pillarbox serve` in a folder of its own, with its durable defaults.

The only settings given are where to listen, the admin token and the database; the account that
leads to the sink has `max_connections` 20.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from tests.peers.private_postfix import free_ports, wait_for

TENANT = "bench"
ACCOUNT = "sink"
MAX_CONNECTIONS = 20
STOP_S = 60
PROGRAM = (Path(sys.executable).with_name("pillarbox"), "serve")


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str


class Pillarbox:
    def __init__(
        self,
        home: Path,
        sink_port: int,
        database_url: str | None = None,
        *,
        program: Sequence[str | Path] = PROGRAM,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start it, with a tenant, an account that leads to the sink, and a login. `settings` are
        variables of its environment.
        """
        self.smtp_port, self.http_port = free_ports(2)
        self.token = secrets.token_urlsafe()
        self._log = (home / "log").open("wb")
        self._process = subprocess.Popen(
            [*program, "--home", home],
            env={**self._environment(database_url), **settings},
            stderr=self._log,
        )
        try:
            wait_for(self.smtp_port)
            wait_for(self.http_port)
            self.login = self._set_up(sink_port)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(STOP_S)
        self._log.close()

    def _environment(self, database_url: str | None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if "PILLARBOX" not in name}
        own["PILLARBOX_API_TOKEN"] = self.token
        own["PILLARBOX_SMTP_LISTEN"] = f"127.0.0.1:{self.smtp_port}"
        own["PILLARBOX_HTTP_LISTEN"] = f"127.0.0.1:{self.http_port}"
        if database_url is not None:
            own["PILLARBOX_DB"] = database_url
            own["PILLARBOX_ENCRYPTION_KEY"] = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
        return own

    def _set_up(self, sink_port: int) -> Login:
        account = {
            "id": ACCOUNT,
            "tenant_id": TENANT,
            "host": "127.0.0.1",
            "port": sink_port,
            "tls": "none",
            "max_connections": MAX_CONNECTIONS,
        }
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.http_port}",
            headers={"X-API-Token": self.token},
            trust_env=False,
        ) as admin:
            for path, body in (("/tenant", {"id": TENANT}), ("/account", account)):
                admin.post(path, json=body).raise_for_status()
            made = admin.post("/credential", json={"tenant_id": TENANT, "username": "bench"})
            made.raise_for_status()
            return Login("bench", made.json()["password"])
