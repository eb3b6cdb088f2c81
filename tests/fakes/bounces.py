"""Mails that come back, as servers write them: an RFC 3464 report, and mail that is none."""

from collections.abc import Iterator
from email.utils import make_msgid

from tests.fakes.script import Received


def head_of(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0] + b"\r\n"


def bounce(
    to: str,
    recipient: str,
    *,
    original: bytes = b"",
    status: str = "5.1.1",
    reply: str = "550 5.1.1 no such user",
) -> bytes:
    """Build the report of a mail that failed; `to` is the sender that it was given."""
    action = "failed" if status.startswith("5") else "delayed"
    text = (
        f"From: MAILER-DAEMON@there.test\r\nTo: {to}\r\nSubject: Undelivered Mail\r\n"
        f"Message-ID: {make_msgid(domain='there.test')}\r\nAuto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        f"--b\r\n\r\n<{recipient}>: {reply}\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.there.test\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {reply}\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
    )
    return text.encode() + head_of(original) + b"\r\n--b--\r\n"


def returned(mail: Received, **changes: str) -> bytes:
    """Build the report of a mail that an upstream took; a hard bounce unless changed."""
    return bounce(mail.sender, mail.recipients[0], original=mail.content, **changes)


def letter(number: int, size_bytes: int = 500) -> bytes:
    """Build a mail that does not concern us."""
    head = f"From: eve@there.test\r\nTo: us@here.test\r\nSubject: letter {number}\r\n\r\n"
    return head.encode() + (b"All is well (so far).\r\n" * (size_bytes // 23 + 1))


def letters(count: int, size_bytes: int = 500) -> Iterator[bytes]:
    return (letter(number, size_bytes) for number in range(count))
