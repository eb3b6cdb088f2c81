"""TLS as a client: what every connection to a server of others begins with."""

import ssl


def client_tls(ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """Build a context that trusts the system's authorities, or those of a file; it reads files, so
    call it in a thread. Raises OSError.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
