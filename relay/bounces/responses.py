"""What an IMAP server's answers say (RFC 9051 §7): pure functions over response lines.

A server is not believed: what is missing or strange is no answer, never an exception.
"""

import base64
import heapq
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

Line = bytes | bytearray

MOST_UIDS = 10_000
_LARGEST_UID = 2**32 - 1
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

_FETCH = re.compile(rb"\d+ FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"\bUID (\d{1,10})\b", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,18})\b", re.IGNORECASE)
_UID_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,10})\]", re.IGNORECASE)
_NUMBER = re.compile(rb"(?<!\S)\d{1,10}(?!\S)")
_NOT_PLAIN = re.compile(r"&|[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was fetched: its start only, where `size_bytes` says that it is longer."""

    uid: int
    size_bytes: int
    raw: bytes = field(repr=False)

    @property
    def is_cut(self) -> bool:
        return len(self.raw) < self.size_bytes


def uid_validity(lines: Sequence[Line]) -> int | None:
    found = (_UID_VALIDITY.search(line) for line in lines)
    return next((int(match[1]) for match in found if match), None)


def uids_after(lines: Sequence[Line], last_uid: int) -> list[int]:
    """Return the lowest numbers above `last_uid` in answers to SEARCH, in order; at most
    `MOST_UIDS`.
    """
    numbers = (int(match[0]) for line in lines for match in _NUMBER.finditer(line))
    return heapq.nsmallest(MOST_UIDS, (n for n in numbers if last_uid < n <= _LARGEST_UID))


def sizes(lines: Sequence[Line], asked: Collection[int]) -> dict[int, int]:
    """Return the size of each mail that was asked for and is there, by UID, in order."""
    found: dict[int, int] = {}
    for text, _content in _answers(lines):
        uid, size = _UID.search(text), _SIZE.search(text)
        if uid and size and int(uid[1]) in asked:
            found[int(uid[1])] = int(size[1])
    return dict(sorted(found.items()))


def mails(lines: Sequence[Line], asked: dict[int, int]) -> list[Mail]:
    """Return the mails that were asked for, in order; `asked` has the size of each UID."""
    found: dict[int, Mail] = {}
    for text, content in _answers(lines):
        match = _UID.search(text)
        if match and content is not None and int(match[1]) in asked:
            uid = int(match[1])
            found[uid] = Mail(uid, asked[uid], content)
    return [found[uid] for uid in sorted(found)]


def _answers(lines: Sequence[Line]) -> Iterator[tuple[bytes, bytes | None]]:
    """Give each FETCH answer: its text, and its literal where it has one."""
    text, content = b"", None
    for line in lines:
        if isinstance(line, bytearray):
            content = bytes(line)
        elif _FETCH.match(line):
            yield text, content
            text, content = line, None
        else:
            text += b" " + line
    yield text, content


def batches(sizes_by_uid: dict[int, int], most_bytes: int, most: int) -> Iterator[dict[int, int]]:
    """Cut mails into portions to fetch at once: up to `most_bytes`, of each mail no more."""
    batch: dict[int, int] = {}
    total = 0
    for uid, size_bytes in sizes_by_uid.items():
        share = min(size_bytes, most_bytes)
        if batch and (total + share > most_bytes or len(batch) == most):
            yield batch
            batch, total = {}, 0
        batch[uid] = size_bytes
        total += share
    if batch:
        yield batch


def quoted(text: str) -> str:
    """Write a quoted string (RFC 9051 §4.3)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def folder_name(name: str) -> str:
    """Write the name of a folder in modified UTF-7, quoted (RFC 3501 §5.1.3)."""
    return quoted(_NOT_PLAIN.sub(_shifted, name))


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    coded = base64.b64encode(match[0].encode("utf-16-be"), b"+,").decode("ascii")
    return f"&{coded.rstrip('=')}-"


def uid_set(uids: Collection[int]) -> str:
    return ",".join(str(uid) for uid in uids)


def since(at: float) -> str:
    """Write the day for a search (RFC 9051 §6.4.4); the names of months are English everywhere."""
    day = datetime.fromtimestamp(at, UTC)
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}"
