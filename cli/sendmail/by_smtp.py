"""A mail's way to the relay by SMTP (RFC 5321), with a login where one is set (RFC 4954).

Promises: `submit` returns when the relay has the mail for all of its recipients. Where it refuses
one of them nobody gets the mail, and Ended tells the caller whether to try again.
"""

import os
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from cli.sendmail.ending import EX_UNAVAILABLE, Ended
from cli.sendmail.letter import Envelope
from cli.sendmail.settings import Settings, wrong

SMTPS_PORT = 465
DEFAULT_PORT = 2525
LOOPBACK = ("localhost", "127.", "::1")
# RFC 4954 §6, RFC 3463 §3.8: who sends, and not what, is refused.
NOT_ALLOWED = frozenset({530, 534, 535, 538})
SECURITY_STATUS = b"5.7."


def submit(settings: Settings, envelope: Envelope, content: bytes) -> None:
    """Give a mail to the relay. Raises Ended."""
    with session(settings) as client:
        client.command_encoding = "ascii" if envelope.is_ascii else "utf-8"
        options = mail_options(client, envelope, content)
        check(client.mail(envelope.sender, options), f"sender {envelope.sender}")
        has_notify = envelope.notify and client.has_extn("dsn")
        notify = [f"NOTIFY={envelope.notify}"] if has_notify else []
        for address in envelope.recipients:
            check(client.rcpt(address, notify), f"recipient {address}")
        check(client.data(content), "the mail")


def mail_options(client: smtplib.SMTP, envelope: Envelope, content: bytes) -> Sequence[str]:
    """Return the parameters of MAIL, of those that the relay has."""
    wanted = {
        "size": f"SIZE={len(content)}",
        "8bitmime": "" if content.isascii() else "BODY=8BITMIME",
        "smtputf8": "" if envelope.is_ascii else "SMTPUTF8",
    }
    found = [text for name, text in wanted.items() if text and client.has_extn(name)]
    if client.has_extn("dsn"):
        found += [f"RET={envelope.ret}"] if envelope.ret else []
        found += [f"ENVID={xtext(envelope.envid)}"] if envelope.envid else []
    return found


def xtext(text: str) -> str:
    """Encode a parameter's value (RFC 3461 §4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def check(reply: tuple[int, bytes], what: str) -> None:
    code, text = reply
    if not 200 <= code < 300:
        raise refusal(code, text, what)


def refusal(code: int, text: bytes | str, what: str) -> Ended:
    words = text.encode() if isinstance(text, str) else text
    shown = f"{what}: {code} {words.decode(errors='replace')}"
    if not 500 <= code < 600:
        return Ended(os.EX_TEMPFAIL, shown)
    is_about_who = code in NOT_ALLOWED or words.startswith(SECURITY_STATUS)
    return Ended(os.EX_NOPERM if is_about_who else os.EX_DATAERR, shown)


@contextmanager
def session(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Give a session in which mail can be begun. Raises Ended for all that fails in it."""
    try:
        client = opened(settings)
        try:
            yield client
        finally:
            # Whatever comes now, the relay has the mail or has it not.
            with suppress(smtplib.SMTPException, OSError):
                client.quit()
            client.close()
    except smtplib.SMTPAuthenticationError as error:
        raise refusal(error.smtp_code, error.smtp_error, "login") from None
    except (smtplib.SMTPConnectError, smtplib.SMTPHeloError) as error:
        lasts = 500 <= error.smtp_code < 600
        code = EX_UNAVAILABLE if lasts else os.EX_TEMPFAIL
        raise Ended(code, refusal(error.smtp_code, error.smtp_error, "relay").args[0]) from None
    except smtplib.SMTPResponseException as error:
        raise refusal(error.smtp_code, error.smtp_error, "relay") from None
    except smtplib.SMTPServerDisconnected:
        raise Ended(os.EX_TEMPFAIL, f"{settings.server}: the connection was lost") from None
    except (smtplib.SMTPException, ssl.SSLError) as error:
        raise Ended(EX_UNAVAILABLE, f"{settings.server}: {error}") from None
    except OSError as error:
        raise Ended(os.EX_TEMPFAIL, f"{settings.server}: {error}") from None
    except ValueError as error:
        raise Ended(os.EX_DATAERR, f"an address cannot be sent: {error}") from None


def opened(settings: Settings) -> smtplib.SMTP:
    """Connect, with TLS and a login as they are set."""
    host, port = place_of(settings.server)
    tls = tls_of(settings.tls, host, port)
    name, timeout_s = settings.host_name, settings.timeout_s
    if tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(
            host, port, name, timeout=timeout_s, context=context(settings)
        )
    else:
        client = smtplib.SMTP(host, port, name, timeout=timeout_s)
    try:
        if tls == "starttls":
            client.starttls(context=context(settings))
        client.ehlo_or_helo_if_needed()
        if settings.user:
            client.login(settings.user, settings.secret())
    except BaseException:
        client.close()
        raise
    return client


def place_of(server: str) -> tuple[str, int]:
    """Read `host`, `host:port` or `[address]:port`."""
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        host, port = server, str(DEFAULT_PORT)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise wrong(f"server: {server!r}: host:port is expected")
    return host.strip("[]"), int(port)


def tls_of(mode: str, host: str, port: int) -> str:
    if mode != "auto":
        return mode
    if port == SMTPS_PORT:
        return "implicit"
    return "none" if host.startswith(LOOPBACK) else "starttls"


def context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as error:
        raise wrong(f"ca_file: {settings.ca_file}: {error}") from None
