"""Finished mails in files: one to a file, many in a folder, a Maildir or an mbox, one on standard
input.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.failure import Failure

MBOX_START = b"From "
# A time makes the difference to a sentence that begins so (RFC 4155).
MBOX_LINE = re.compile(rb"From .*\d\d:\d\d")
BLANK = (b"\r\n", b"\n")
STDIN = "-"


@dataclass(frozen=True, slots=True)
class MailFile:
    """A mail that is read when its turn comes. `load` raises OSError."""

    name: str
    load: Callable[[], bytes]


def mail_files(names: Iterable[str]) -> list[MailFile]:
    """Return the mails that names of files and folders stand for, in order. Raises Failure."""
    found = [mail for name in names for mail in in_one(name)]
    if not found:
        raise Failure("there is no mail in what was named")
    return found


def in_one(name: str) -> Iterator[MailFile]:
    if name == STDIN:
        yield MailFile("standard input", partial(sys.stdin.buffer.read))
        return
    path = Path(name)
    if path.is_dir():
        yield from in_folder(path)
    elif not path.exists():
        raise Failure(f"{name}: there is no such file")
    elif starts_an_mbox(path):
        yield from in_mbox(path)
    else:
        yield MailFile(name, path.read_bytes)


def in_folder(path: Path) -> Iterator[MailFile]:
    """Give the mails of a Maildir, or the `.eml` files of a folder, in the order of their names."""
    is_maildir = (path / "cur").is_dir() and (path / "new").is_dir()
    folders = (path / "new", path / "cur") if is_maildir else (path,)
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file() and (is_maildir or file.suffix.lower() == ".eml"):
                yield MailFile(str(file), file.read_bytes)


def starts_an_mbox(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MBOX_START)) == MBOX_START
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def in_mbox(path: Path) -> Iterator[MailFile]:
    for number, (start, end) in enumerate(bounds(path), start=1):
        yield MailFile(f"{path}:{number}", partial(part_of, path, start, end))


def bounds(path: Path) -> Iterator[tuple[int, int]]:
    """Give where each mail of an mbox starts, its From line left out, and ends (RFC 4155)."""
    start = at = 0
    after_blank = True
    with path.open("rb") as file:
        for line in file:
            if after_blank and MBOX_LINE.match(line):
                if start:
                    yield start, at
                start = at + len(line)
            after_blank = line in BLANK
            at += len(line)
    if start:
        yield start, at


def part_of(path: Path, start: int, end: int) -> bytes:
    """Return one mail of an mbox, without the empty line that parts it from the next."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(end - start)
    parting = next((ending for ending in BLANK if content.endswith(b"\n" + ending)), b"")
    return content.removesuffix(parting)
