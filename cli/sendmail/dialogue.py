"""`-bs`: SMTP on standard input and output, for callers that speak it to a program.

The relay speaks; we only carry, a command and its reply at a time, since what a caller pipelines
waits in the pipe. TLS and the login are ours, towards the relay: neither is offered to the caller.
"""

import os
import smtplib
from collections.abc import Sequence
from typing import IO

from cli.sendmail.by_smtp import session
from cli.sendmail.ending import Ended
from cli.sendmail.settings import Settings, wrong

GREETING = b"220 pillarbox-sendmail ESMTP\r\n"
GONE = b"421 4.3.0 The relay cannot be reached\r\n"
NOT_HERE = b"502 5.5.1 Not on this connection\r\n"
NOT_OFFERED = (b"STARTTLS", b"AUTH")
LINE_MAX_BYTES = 65_536


def converse(settings: Settings, given: IO[bytes], out: IO[bytes]) -> None:
    """Carry a dialogue to its end. Raises Ended where the relay fails."""
    if not settings.server:
        raise wrong("-bs needs a server to speak to")
    try:
        with session(settings) as client:
            tell(out, GREETING)
            carry(client, given, out)
    except Ended:
        tell(out, GONE)
        raise


def carry(client: smtplib.SMTP, given: IO[bytes], out: IO[bytes]) -> None:
    while line := given.readline(LINE_MAX_BYTES):
        verb = line.split(None, 1)[0].upper() if line.strip() else b""
        if verb in NOT_OFFERED:
            tell(out, NOT_HERE)
            continue
        client.send(crlf(line))
        code = answer(client, out)
        if code == 354:
            carry_mail(client, given)
            code = answer(client, out)
        if code in (221, 421):
            return


def carry_mail(client: smtplib.SMTP, given: IO[bytes]) -> None:
    """Carry a mail to its last dot. One that is cut off is never finished."""
    is_start = True
    while line := given.readline(LINE_MAX_BYTES):
        client.send(crlf(line))
        if is_start and line.rstrip(b"\r\n") == b".":
            return
        is_start = line.endswith(b"\n")
    client.close()
    raise Ended(os.EX_DATAERR, "the mail ended without its last dot")


def crlf(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        return line
    return line if line.endswith(b"\r\n") else line[:-1] + b"\r\n"


def answer(client: smtplib.SMTP, out: IO[bytes]) -> int:
    """Carry a reply, and return its code."""
    code, text = client.getreply()
    lines = [line for line in text.split(b"\n") if not is_offer(line)] or [b""]
    tell(out, *reply(code, lines))
    return code


def is_offer(line: bytes) -> bool:
    return line.upper().split(b" ")[0] in NOT_OFFERED


def reply(code: int, lines: Sequence[bytes]) -> list[bytes]:
    last = len(lines) - 1
    marks = (b" " if number == last else b"-" for number in range(len(lines)))
    return [b"%d%s%s\r\n" % (code, mark, line) for mark, line in zip(marks, lines, strict=True)]


def tell(out: IO[bytes], *lines: bytes) -> None:
    out.write(b"".join(lines))
    out.flush()
