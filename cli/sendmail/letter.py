"""The mail that a caller writes, and what sendmail(8) does to it before it goes. Pure but for
`read`.

Its lines may end in LF or CRLF, and be of any length. Missing are often From, Date and Message-ID
(RFC 5322 §3.6), which are added; addresses of local users have no domain and get one. Bcc is taken
out, whoever its recipients came from. All else stays as it is, byte for byte.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from email.charset import Charset
from email.utils import getaddresses
from typing import IO, NamedTuple

from cli.sendmail.ending import Ended

MOST_BYTES = 104_857_600  # the relay's own limit is lower, and it says so
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:.*", re.DOTALL)
NOT_PLAIN = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]")
LINE_END = re.compile(rb"\r\n|\n")
EMPTY_GROUP = re.compile(r"[^:<>@]*:\s*;?\s*")  # undisclosed-recipients:;
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MBOX_START = b"From "
RECIPIENTS = ("to", "cc", "bcc")
ADDRESSES = frozenset({"from", "sender", "reply-to", "to", "cc"})

Qualify = Callable[[str], str]


class Field(NamedTuple):
    """`raw` is the whole field with its line ends; `name` is in lower case."""

    name: str
    raw: bytes

    @property
    def text(self) -> str:
        value = self.raw.partition(b":")[2]
        return " ".join(value.decode("utf-8", "surrogateescape").split())


class Letter(NamedTuple):
    fields: tuple[Field, ...]
    body: bytes

    def all(self, *names: str) -> list[str]:
        """Return the values of the fields of these names, in the order of the mail."""
        return [field.text for field in self.fields if field.name in names]

    @property
    def content(self) -> bytes:
        return b"".join(field.raw for field in self.fields) + b"\r\n" + self.body


class Envelope(NamedTuple):
    """`sender` is "" for the null sender; what follows is asked of delivery reports (RFC 3461)."""

    sender: str
    recipients: tuple[str, ...]
    notify: str | None = None
    ret: str | None = None
    envid: str | None = None

    @property
    def is_ascii(self) -> bool:
        return all(address.isascii() for address in (self.sender, *self.recipients))


def read(stream: IO[bytes], *, dot_ends: bool) -> bytes:
    """Read to the end or, where a dot ends a mail, to a line with nothing but one. Raises Ended."""
    lines: list[bytes] = []
    size = 0
    for line in stream:
        if dot_ends and line.rstrip(b"\r\n") == b".":
            break
        size += len(line)
        if size > MOST_BYTES:
            raise Ended(os.EX_DATAERR, f"the mail is larger than {MOST_BYTES} bytes")
        lines.append(line)
    return b"".join(lines)


def parse(given: bytes) -> Letter:
    """Split a mail into its fields and its body; what looks like no field begins the body."""
    lines = LINE_END.split(given)
    if not lines[-1]:
        lines.pop()
    if lines and lines[0].startswith(MBOX_START):
        del lines[0]
    heads: list[list[bytes]] = []
    used = 0
    for line in lines:
        if heads and line.startswith((b" ", b"\t")) and line.strip():
            heads[-1].append(line)
        elif FIELD.fullmatch(line):
            heads.append([line])
        else:
            break
        used += 1
    body = lines[used:]
    if body and not body[0]:
        del body[0]
    return Letter(tuple(map(_field, heads)), with_ends(body))


def _field(lines: Sequence[bytes]) -> Field:
    name = lines[0].partition(b":")[0].strip()
    return Field(name.decode("ascii").lower(), with_ends(lines))


def with_ends(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def recipients_of(letter: Letter) -> list[str]:
    """Return the addresses that the mail is written to. One sent on is for those it is sent on to
    (RFC 5322 §3.6.6).
    """
    resent = [f"resent-{name}" for name in RECIPIENTS]
    return addresses(letter.all(*resent) or letter.all(*RECIPIENTS))


def author_of(letter: Letter) -> str | None:
    found = [address for _, address in getaddresses(letter.all("from")) if address]
    return found[0] if found else None


def addresses(values: Iterable[str]) -> list[str]:
    """Return the addresses in lists of them. Raises Ended: none is left out."""
    found: list[str] = []
    for value in values:
        if value.strip() and not EMPTY_GROUP.fullmatch(value):
            boxes = [address for _, address in getaddresses([value])]
            if not boxes or not all(boxes) or CONTROL.search(value):
                raise Ended(os.EX_DATAERR, f"no list of addresses: {value!r}")
            found += boxes
    return found


def without_bcc(letter: Letter) -> Letter:
    kept = tuple(f for f in letter.fields if f.name not in ("bcc", "resent-bcc"))
    return letter._replace(fields=kept)


def qualified(letter: Letter, qualify: Qualify) -> Letter:
    """Complete the addresses in the header that have no domain."""
    return letter._replace(fields=tuple(_qualified(field, qualify) for field in letter.fields))


def _qualified(field: Field, qualify: Qualify) -> Field:
    if field.name not in ADDRESSES:
        return field
    boxes = getaddresses([field.text])
    if all("@" in address for _, address in boxes) or not all(address for _, address in boxes):
        return field
    written = ", ".join(mailbox(name, qualify(address)) for name, address in boxes)
    return Field(field.name, field_line(field.raw.partition(b":")[0].decode(), written))


def mailbox(name: str, address: str) -> str:
    """Write a mailbox; a name that is no ASCII as RFC 2047 has it."""
    name = " ".join(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())
    if not name:
        return address
    if not name.isascii():
        name = Charset("utf-8").header_encode(name)
    elif NOT_PLAIN.search(name):
        name = '"{}"'.format(name.replace("\\", r"\\").replace('"', r"\""))
    return f"{name} <{address}>"


def completed(letter: Letter, missing: Iterable[tuple[str, Callable[[], str]]]) -> Letter:
    """Add the fields that a mail lacks, in front."""
    has = {field.name for field in letter.fields}
    added = [
        Field(name.lower(), field_line(name, value()))
        for name, value in missing
        if name.lower() not in has
    ]
    return letter._replace(fields=(*added, *letter.fields))


def field_line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
