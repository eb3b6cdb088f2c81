"""What the SMTP servers of a node are told; each is the setting of the same name in `smtp.*`, and
`takes_suppressed` is `smtp.suppressed = "accept"`.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on. `require_tls`: AUTH is neither offered nor taken in clear."""

    host: str
    port: int
    require_tls: bool
    implicit_tls: bool = False


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    host_name: str
    endpoints: tuple[Endpoint, ...]
    tls_cert: Path | None
    tls_key: Path | None
    max_message_bytes: int
    max_connections: int
    max_connections_per_ip: int
    max_recipients: int
    idle_timeout_s: float
    session_timeout_s: float
    min_rate_bytes_s: float
    min_rate_grace_s: float
    max_commands: int
    max_errors: int
    max_auth_failures: int
    share_ports: bool = False
    takes_suppressed: bool = False
