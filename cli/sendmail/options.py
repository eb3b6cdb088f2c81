"""The command line of sendmail(8), as its callers write it. Pure.

Options may be joined (`-ti`), have their value joined (`-FCronDaemon`) or after them (`-f me`), and
stand after recipients too. What makes no difference here is taken and ignored; what would make one
and cannot be done is named.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from cli.sendmail.ending import Ended


class Mode(Enum):
    SEND = "m"
    DIALOGUE = "s"
    QUEUE = "p"
    NOTHING = "i"


# -ba, ARPANET mode, differs from -bm in how errors are told only.
MODES = {mode.value: mode for mode in Mode} | {"a": Mode.SEND}
# About a queue of its own, which it does not have, and about how errors are told.
IGNORED_WITH_VALUE = frozenset("ABCLOXehp")
IGNORED = frozenset("GUcmnvx")
# Their value is joined or there is none: -q30m, -d0.1.
IGNORED_WITH_JOINED = frozenset("d")
PROGRAM_MODES = {"mailq": Mode.QUEUE, "newaliases": Mode.NOTHING}


class Options(NamedTuple):
    """`sender` is None where none was named, "" for the null sender.

    `notify`, `ret` and `envid` are asked of an SMTP server that has DSN (RFC 3461).
    """

    mode: Mode = Mode.SEND
    recipients: tuple[str, ...] = ()
    reads_recipients: bool = False
    dot_ends: bool = True
    sender: str | None = None
    full_name: str | None = None
    notify: str | None = None
    ret: str | None = None
    envid: str | None = None


class _Reading(NamedTuple):
    found: dict[str, object]
    recipients: list[str]


def read(argv: Sequence[str]) -> Options:
    """Read a command line, the program's name first. Raises Ended with EX_USAGE."""
    reading = _Reading({"mode": PROGRAM_MODES.get(os.path.basename(argv[0]), Mode.SEND)}, [])
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            reading.recipients.extend(words)
        elif word.startswith("-") and word != "-":
            _read_letters(word[1:], words, reading)
        else:
            reading.recipients.append(word)
    return Options(recipients=tuple(reading.recipients), **reading.found)  # type: ignore[arg-type]


def _read_letters(letters: str, words: Iterator[str], reading: _Reading) -> None:
    """Read the options that one word has."""
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in FLAGS:
            reading.found.update(FLAGS[letter])
        elif letter in VALUED or letter in IGNORED_WITH_VALUE:
            value = letters or next(words, None)
            if value is None:
                raise Ended(os.EX_USAGE, f"option -{letter} needs a value")
            reading.found.update(VALUED[letter](value) if letter in VALUED else {})
            return
        elif letter == "q":
            reading.found["mode"] = Mode.NOTHING
            return
        elif letter in IGNORED_WITH_JOINED:
            return
        elif letter not in IGNORED:
            raise Ended(os.EX_USAGE, f"option -{letter} is unknown")


def _mode(value: str) -> Mapping[str, object]:
    if value not in MODES:
        raise Ended(os.EX_USAGE, f"option -b{value} is not available")
    return {"mode": MODES[value]}


def _sender(value: str) -> Mapping[str, object]:
    return {"sender": "" if value.strip() == "<>" else value}


def _old_option(value: str) -> Mapping[str, object]:
    """Read `-oX`: of those only -oi and -ot are more than a hint."""
    return FLAGS.get(value, {}) if value in ("i", "t") else {}


def _notify(value: str) -> Mapping[str, object]:
    conditions = value.upper().split(",")
    known = {"SUCCESS", "FAILURE", "DELAY"}
    if conditions != ["NEVER"] and not known.issuperset(conditions):
        raise Ended(os.EX_USAGE, f"option -N: {value!r}: never, or success, failure, delay")
    return {"notify": ",".join(conditions)}


def _ret(value: str) -> Mapping[str, object]:
    if value.upper() not in ("FULL", "HDRS"):
        raise Ended(os.EX_USAGE, f"option -R: {value!r}: full or hdrs")
    return {"ret": value.upper()}


FLAGS: Mapping[str, Mapping[str, object]] = {
    "i": {"dot_ends": False},
    "t": {"reads_recipients": True},
    "I": {"mode": Mode.NOTHING},
}
VALUED: Mapping[str, Callable[[str], Mapping[str, object]]] = {
    "b": _mode,
    "f": _sender,
    "r": _sender,
    "F": lambda value: {"full_name": value},
    "N": _notify,
    "R": _ret,
    "V": lambda value: {"envid": value},
    "o": _old_option,
}
