"""The delivery status notifications that we write.

A multipart/report (RFC 6522) of a text for people, the status of each recipient (RFC 3464) and the
mail that it is about, whole or its header only. Where something that has to be said is not ASCII,
the forms of RFC 6533 (`message/global-…`, address type `utf-8`) take the place of the ordinary
ones. Nothing that a stranger gave can add a field to what is written.

Pure: no clock and no chance. The caller brings the time and the id.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum

from relay.formats.characters import without_forbidden
from relay.formats.headers import Head, scan
from relay.formats.xtext import decoded, typed_address

# What is asked of an original that is not returned whole; no header block is longer.
HEAD_BYTES = 131_072
# Characters; at most 4 octets each, so under the 998 of RFC 5322 §2.1.1.
LINE_MAX_CHARS = 240
TEXT_CHARS = 76

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,900}>")
_REPLIES = re.compile(r"\s*auto-replied\b", re.IGNORECASE)
_REPORT = re.compile(
    r"\s*multipart/report\b.*\breport-type\s*=\s*\"?delivery-status", re.IGNORECASE
)


class Action(StrEnum):
    """What became of a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient. Times are Unix seconds.

    `status` is the RFC 3463 code; `reply` is for people. `code` is the upstream's reply code, 0
    where this relay itself decided; `diagnostic` is what the upstream, or this relay, said;
    `remote` is the upstream's name. `orcpt` is as given, in xtext.
    """

    address: str
    action: Action
    status: str
    reply: str
    diagnostic: str
    code: int = 0
    remote: str | None = None
    orcpt: str | None = None
    last_attempt_at: float | None = None
    retry_until: float | None = None


@dataclass(frozen=True, slots=True)
class Original:
    """The mail that is reported on. `content` is the first bytes of it, or all where `is_whole`;
    `ret` and `envid` are as given (RFC 3461). `deliver_by` is when its sender wanted it delivered
    (RFC 2852, Unix seconds).
    """

    pk: str
    sender: str
    arrived_at: float
    content: bytes = field(repr=False)
    is_whole: bool
    ret: str | None = None
    envid: str | None = None
    deliver_by: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What is to be written: by whom (`host_name`, `author`), about what, at what time."""

    pk: str
    host_name: str
    author: str
    at: float
    original: Original
    fates: tuple[Fate, ...]

    @property
    def message_id(self) -> str:
        return f"<{self.pk}@{self.host_name}>"


@dataclass(frozen=True, slots=True)
class _Part:
    content_type: str
    body: bytes
    description: str


_SUBJECTS = (
    (Action.FAILED, "Undelivered Mail Returned to Sender"),
    (Action.DELAYED, "Delayed Mail (still being retried)"),
)
_OTHERWISE = "Successful Mail Delivery Report"
_WORDS = {
    Action.FAILED: "Your mail could not be delivered to the following. It is not tried again.",
    Action.DELAYED: "Your mail is not delivered yet to the following. You need not send it again.",
    Action.RELAYED: "Your mail was handed on for the following, by way of a mail server that sends"
    " no report of its delivery.",
    Action.DELIVERED: "Your mail was delivered to the following.",
    Action.EXPANDED: "Your mail was delivered to the following, which sends it on to others.",
}


def head_of(content: bytes) -> Head:
    """Return the header of a mail of which perhaps only the first bytes are there."""
    excerpt = content[:HEAD_BYTES]
    head = scan(excerpt, max_bytes=HEAD_BYTES, max_fields=HEAD_BYTES)
    is_cut = head.size_bytes == len(excerpt) and not head.block.endswith(b"\n")
    if not is_cut:
        return head
    return Head(head.block[: head.fields[-1].start], head.fields[:-1]) if head.fields else head


def is_answer(head: Head) -> bool:
    """Say whether a mail is itself a report, or an answer that nobody wrote: they get no report,
    whatever their sender (RFC 3834 §2, RFC 3464 §2).
    """
    return any(_REPLIES.match(value) for value in head.all("Auto-Submitted")) or any(
        _REPORT.match(value) for value in head.all("Content-Type")
    )


def subject_of(fates: Sequence[Fate]) -> str:
    actions = {fate.action for fate in fates}
    return next((words for action, words in _SUBJECTS if action in actions), _OTHERWISE)


def compose(note: Notification) -> bytes:
    """Write the notification, with CRLF line ends."""
    head = head_of(note.original.content)
    parts = [_text(note), _status(note)]
    if note.original.content:
        parts.append(_returned(note, head))
    boundary = f"=_{note.pk}"
    is_8bit = any(not part.body.isascii() for part in parts)
    pieces = [_header(note, head, boundary, is_8bit)]
    pieces += [_wrapped(part, boundary) for part in parts]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _header(note: Notification, head: Head, boundary: str, is_8bit: bool) -> bytes:
    lines = [
        f"Date: {formatdate(note.at, localtime=True)}",
        f"From: Mail Delivery System <{note.author}>",
        f"To: <{note.original.sender}>",
        f"Subject: {subject_of(note.fates)}",
        f"Message-ID: {note.message_id}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    about = (head.first("Message-ID") or "").strip()
    if _MESSAGE_ID.fullmatch(about):
        lines[5:5] = [f"In-Reply-To: {about}", f"References: {about}"]
    if is_8bit:
        lines.append("Content-Transfer-Encoding: 8bit")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _wrapped(part: _Part, boundary: str) -> bytes:
    encoding = "" if part.body.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    head = (
        f"--{boundary}\r\nContent-Description: {part.description}\r\n"
        f"Content-Type: {part.content_type}\r\n{encoding}\r\n"
    )
    return b"".join((head.encode(), part.body, b"\r\n"))


def _text(note: Notification) -> _Part:
    lines = [f"This is the mail system at host {note.host_name}.", ""]
    for action in _WORDS:
        concerned = [fate for fate in note.fates if fate.action is action]
        if concerned:
            lines += [*textwrap.wrap(_WORDS[action], TEXT_CHARS), ""]
            lines += [line for fate in concerned for line in _told(fate)]
    body = "\r\n".join(lines)
    return _Part(f"text/plain; charset={_charset(body)}", body.encode(), "Notification")


def _told(fate: Fate) -> list[str]:
    lines = _lines(f"<{fate.address}>: {fate.reply}", TEXT_CHARS)
    if fate.retry_until is not None:
        lines.append(f"It is tried until {formatdate(fate.retry_until, localtime=True)}.")
    return [*lines, ""]


def _charset(text: str) -> str:
    return "us-ascii" if text.isascii() else "utf-8"


def _status(note: Notification) -> _Part:
    """Write the status part; of the form for international mail where an address asks for it."""
    is_global = not all(
        text.isascii() for fate in note.fates for text in (fate.address, _original_recipient(fate))
    )
    kind = "message/global-delivery-status" if is_global else "message/delivery-status"
    groups = [_mail_fields(note), *(_group(fate) for fate in note.fates)]
    text = "\r\n".join(
        "".join(_field(name, value, is_global) for name, value in group) for group in groups
    )
    return _Part(kind, text.encode(), "Delivery report")


def _mail_fields(note: Notification) -> list[tuple[str, str]]:
    original = note.original
    fields = [
        ("Reporting-MTA", f"dns; {note.host_name}"),
        ("X-Pillarbox-Queue-Id", original.pk),
        ("Arrival-Date", formatdate(original.arrived_at, localtime=True)),
    ]
    if original.envid is not None:
        fields.insert(1, ("Original-Envelope-Id", decoded(original.envid)))
    if original.deliver_by is not None:
        fields.append(("Deliver-By-Date", formatdate(original.deliver_by, localtime=True)))
    return fields


def _group(fate: Fate) -> list[tuple[str, str]]:
    kind = "rfc822" if fate.address.isascii() else "utf-8"
    speaker = f"smtp; {fate.code}" if fate.code else "X-Pillarbox;"
    fields = (
        ("Original-Recipient", _original_recipient(fate)),
        ("Final-Recipient", f"{kind}; {fate.address}"),
        ("Action", fate.action.value),
        ("Status", fate.status),
        ("Remote-MTA", fate.remote and f"dns; {fate.remote}"),
        ("Diagnostic-Code", fate.diagnostic and f"{speaker} {fate.diagnostic}"),
        ("Last-Attempt-Date", _date(fate.last_attempt_at)),
        ("Will-Retry-Until", _date(fate.retry_until)),
    )
    return [(name, value) for name, value in fields if value]


def _date(at: float | None) -> str | None:
    return None if at is None else formatdate(at, localtime=True)


def _original_recipient(fate: Fate) -> str:
    if fate.orcpt is None:
        return ""
    kind, address = typed_address(fate.orcpt)
    return f"{kind};{address}"


def _field(name: str, value: str, is_global: bool) -> str:
    if not is_global:
        value = value.encode("ascii", "backslashreplace").decode()
    return "\r\n ".join(_lines(f"{name}: {value}", LINE_MAX_CHARS)) + "\r\n"


def _lines(text: str, width: int) -> list[str]:
    """Break a text into lines; only what is longer than any line may be is cut inside a word."""
    clean = without_forbidden(text)
    lines = textwrap.wrap(clean, width, break_long_words=False, break_on_hyphens=False)
    return [
        line[at : at + LINE_MAX_CHARS]
        for line in lines
        for at in range(0, len(line), LINE_MAX_CHARS)
    ]


def _returned(note: Notification, head: Head) -> _Part:
    """Return the mail, or its header (RFC 3461 §4.3: whole only where a failure is told of)."""
    original = note.original
    has_failed = any(fate.action is Action.FAILED for fate in note.fates)
    is_ascii, is_utf8 = head.block.isascii(), _is_utf8(head.block)
    if original.ret == "FULL" and has_failed and original.is_whole and is_utf8:
        kind = "message/rfc822" if is_ascii else "message/global"
        return _Part(kind, original.content, "Undelivered mail")
    if is_utf8 and not is_ascii:
        return _Part("message/global-headers", head.block, "Header of the mail")
    kind = "text/rfc822-headers" if is_ascii else "text/rfc822-headers; charset=unknown-8bit"
    return _Part(kind, head.block, "Header of the mail")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
