"""The envelope in words: MAIL and RCPT with the parameters that the upstream offers.

Promises that nothing leaves which could end a command early: an address or a parameter with CR, LF,
NUL or a bracket raises ValueError before a byte is written. RFC 5321 §4.1.1, RFC 1870 (SIZE), 6152
(8BITMIME), 6531 (SMTPUTF8), 3461 (DSN).

Pure: no clock and no I/O.
"""

import re
from dataclasses import dataclass, field

from relay.formats.xtext import in_ascii
from relay.model import Pending
from relay.value import frozen

# Brackets, spaces and backslashes only inside quotes; control characters nowhere.
_ADDRESS = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]++|\\[^\x00-\x1f\x7f])*+"|[^\s<>"\\\x00-\x1f\x7f]++)++', re.UNICODE
)
_PARAMETER = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the upstream offers. `size` is None without SIZE and 0 where it names no limit."""

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    pipelining: bool = False
    enhanced: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Name what is offered as EHLO does."""
        offered = {
            "SIZE": self.size is not None,
            "8BITMIME": self.eight_bit,
            "SMTPUTF8": self.smtputf8,
            "DSN": self.dsn,
            "PIPELINING": self.pipelining,
            "ENHANCEDSTATUSCODES": self.enhanced,
        }
        return tuple(name for name, is_offered in offered.items() if is_offered)


@frozen
class Offer:
    """A mail as it is offered once to one upstream.

    `content` has CRLF line ends and no stuffed dots; `is_dotless` where no line begins with one.
    What it needs (8BITMIME, SMTPUTF8) is for the
    caller to compare with the Extensions: a parameter that is not offered is left out.
    """

    sender: str
    recipients: tuple[Pending, ...]
    content: bytes = field(repr=False)
    is_dotless: bool = False
    body_8bit: bool = False
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


def envelope_commands(mail: Offer, offered: Extensions) -> list[bytes]:
    """Return MAIL and one RCPT for each recipient, each with its CRLF.

    Raises ValueError where an address or parameter cannot be said safely to this upstream.
    """
    if not mail.recipients:
        raise ValueError("a mail without recipients")
    utf8 = mail.smtputf8 and offered.smtputf8
    encoding = "utf-8" if utf8 else "ascii"
    # "" is the null reverse-path of bounces (RFC 5321 §4.5.5).
    if mail.sender and not _ADDRESS.fullmatch(mail.sender):
        raise ValueError("sender is not fit for an SMTP command")
    asked = _mail_parameters(mail, offered, utf8)
    commands = [f"MAIL FROM:<{mail.sender}>{asked}\r\n".encode(encoding)]
    for pending in mail.recipients:
        if not _ADDRESS.fullmatch(pending.address):
            raise ValueError("address is not fit for an SMTP command")
        asked = _dsn_parameters(pending) if offered.dsn else ""
        commands.append(f"RCPT TO:<{pending.address}>{asked}\r\n".encode(encoding))
    return commands


def _mail_parameters(mail: Offer, offered: Extensions, utf8: bool) -> str:
    size = "" if offered.size is None else f" SIZE={len(mail.content)}"
    body = " BODY=8BITMIME" if mail.body_8bit and offered.eight_bit else ""
    text = f"{size}{body}{' SMTPUTF8' if utf8 else ''}"
    if offered.dsn:
        text += _given("RET", mail.ret) + _given("ENVID", mail.envid)
    return text


def _dsn_parameters(pending: Pending) -> str:
    if pending.notify is None and pending.orcpt is None:
        return ""
    # RFC 6533 §3: embedded Unicode says the same to a server with and without SMTPUTF8.
    orcpt = None if pending.orcpt is None else in_ascii(pending.orcpt)
    return _given("NOTIFY", pending.notify) + _given("ORCPT", orcpt)


def _given(name: str, value: str | None) -> str:
    if value is None:
        return ""
    if not _PARAMETER.fullmatch(value):
        raise ValueError(f"{name} is not fit for an SMTP command")
    return f" {name}={value}"
