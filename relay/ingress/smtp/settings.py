"""What the SMTP servers of a node are told; each is the setting of the same name in `smtp.*`, and
`takes_suppressed` is `smtp.suppressed = "accept"`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on. `require_tls`: AUTH is neither offered nor taken in clear.
    `old_tls`: TLS 1.0 and 1.1, and the ciphers of their time, are spoken too.
    """

    host: str
    port: int
    require_tls: bool
    implicit_tls: bool = False
    old_tls: bool = False


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
    max_messages: int = 0
    max_receiving_bytes: int = 268_435_456
    more_certs: tuple[Path, ...] = ()
    proxy_networks: tuple[IpNetwork, ...] = ()
