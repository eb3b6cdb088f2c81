"""Whether a callback's server can be reached from here: by name, by TCP, by TLS. Nothing is asked
of it.
"""

import socket
import ssl
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
PORTS = {"http": 80, "https": 443}


def trouble_with(url: str) -> str | None:
    """Return why a server cannot be reached, None where it can."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or PORTS.get(parts.scheme, 443)
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is refused: {error.verify_message}"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None
