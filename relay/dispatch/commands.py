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

# Brackets, spaces and backslashes only inside quotes; control characters nowhere.
_ADDRESS = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^\s<>"\\\x00-\x1f\x7f])+', re.UNICODE
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


@dataclass(frozen=True, slots=True)
class Offer:
    """A mail as it is offered once to one upstream.

    `content` has CRLF line ends and no stuffed dots. What it needs (8BITMIME, SMTPUTF8) is for the
    caller to compare with the Extensions: a parameter that is not offered is left out.
    """

    sender: str
    recipients: tuple[Pending, ...]
    content: bytes = field(repr=False)
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
    commands = [_mail(mail, offered, utf8)]
    commands.extend(_rcpt(pending, offered, utf8) for pending in mail.recipients)
    return commands


def _mail(mail: Offer, offered: Extensions, utf8: bool) -> bytes:
    parameters = []
    if offered.size is not None:
        parameters.append(f"SIZE={len(mail.content)}")
    if mail.body_8bit and offered.eight_bit:
        parameters.append("BODY=8BITMIME")
    if utf8:
        parameters.append("SMTPUTF8")
    if offered.dsn:
        parameters += _given(RET=mail.ret, ENVID=mail.envid)
    # "" is the null reverse-path of bounces (RFC 5321 §4.5.5).
    sender = _checked(mail.sender, utf8) if mail.sender else b""
    return _command(b"MAIL FROM:<%s>" % sender, parameters)


def _rcpt(pending: Pending, offered: Extensions, utf8: bool) -> bytes:
    parameters = []
    if offered.dsn:
        # RFC 6533 §3: embedded Unicode says the same to a server with and without SMTPUTF8.
        orcpt = None if pending.orcpt is None else in_ascii(pending.orcpt)
        parameters = _given(NOTIFY=pending.notify, ORCPT=orcpt)
    return _command(b"RCPT TO:<%s>" % _checked(pending.address, utf8), parameters)


def _command(words: bytes, parameters: list[str]) -> bytes:
    return b" ".join([words, *(parameter.encode("ascii") for parameter in parameters)]) + b"\r\n"


def _given(**values: str | None) -> list[str]:
    parameters = []
    for name, value in values.items():
        if value is None:
            continue
        if not _PARAMETER.fullmatch(value):
            raise ValueError(f"{name} is not fit for an SMTP command")
        parameters.append(f"{name}={value}")
    return parameters


def _checked(address: str, utf8: bool) -> bytes:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("address is not fit for an SMTP command")
    return address.encode("utf-8" if utf8 else "ascii")
