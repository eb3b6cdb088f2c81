"""The lines of the log: what one looks like, and how it is written."""

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from threading import get_ident
from typing import Literal, TextIO

_LONGEST_VALUE = 1000
_MOST_PLACES = 60
_LONGEST_TRACEBACK = 20000
_SILENT = logging.CRITICAL  # above every level that is used here
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_PLAIN = re.compile(r"[^ =\"\n]*")
_URL_LOGIN = re.compile(r"://\S*@")

_Line = dict[str, object]
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode


# When, at what level, which event, and its values.
_Said = tuple[float, str, str, Mapping[str, object]]


class Log:
    """Makes a line of each event and writes it.

    What one turn of the event loop says is rendered and written when the turn ends, all at once,
    which costs a mail less than line after line; before any warning, though, nothing waits.
    """

    def __init__(self, stream: TextIO, level: int, render: Callable[[_Line], str]) -> None:
        self._stream = stream
        self._level = level
        self._render = render
        self._waiting: list[_Said] = []
        self._turns_thread = 0

    def debug(self, event: str, **values: object) -> None:
        if self._level <= logging.DEBUG:
            self._later((time.time(), "debug", event, values))

    def info(self, event: str, **values: object) -> None:
        if self._level <= logging.INFO:
            self._later((time.time(), "info", event, values))

    def warning(self, event: str, **values: object) -> None:
        if self._level <= logging.WARNING:
            self._now((time.time(), "warning", event, values))

    def error(self, event: str, **values: object) -> None:
        if self._level <= logging.ERROR:
            self._now((time.time(), "error", event, values))

    def _later(self, said: _Said) -> bool:
        """Write it with the others of this turn; False where it was written, outside of a loop."""
        # To ask for the loop costs a system call.
        if not self._waiting or get_ident() != self._turns_thread:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._write([said])
                return False
            self._turns_thread = get_ident()
            loop.call_soon(self._flush)
        self._waiting.append(said)
        return True

    def _now(self, said: _Said) -> None:
        if self._later(said):
            self._flush()

    def _flush(self) -> None:
        said, self._waiting = self._waiting, []
        self._write(said)

    def _write(self, said: Sequence[_Said]) -> None:
        # A full disk, a closed pipe, a closed stream (ValueError): see the module's promise.
        with suppress(OSError, ValueError):
            self._stream.write("".join([self._render(_line(one)) + "\n" for one in said]))
            self._stream.flush()


def _line(said: _Said) -> _Line:
    """Put time, level and event first, drop what is None, escape and cut the rest."""
    at, level, event, values = said
    line: _Line = {"ts": _time(at), "level": level, "event": event}
    for key, value in values.items():
        if isinstance(value, str):
            is_plain = len(value) <= _LONGEST_VALUE and value.isprintable()
            line[key] = value if is_plain else _safe(value)
        elif value is not None:
            line[key] = value
    return line


def _time(at: float) -> str:
    second, rest = divmod(at, 1)
    return f"{_second(int(second))}.{int(rest * 1000):03}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _safe(text: str) -> str:
    safe = _printable(text[: _LONGEST_VALUE + 1])
    return safe if len(safe) <= _LONGEST_VALUE else safe[:_LONGEST_VALUE] + "…"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def without_login(text: str) -> str:
    """Take logins out of URLs: drivers name the address that they could not reach."""
    return _URL_LOGIN.sub("://…@", text)


def _as_text(line: _Line) -> str:
    """Render key=value; a traceback follows indented, so that no line of it looks like an event."""
    lines = line.pop("traceback", ())
    text = " ".join([f"{key}={_quoted(value)}" for key, value in line.items()])
    return "\n    ".join([text, *lines]) if isinstance(lines, list) else text


def _quoted(value: object) -> str:
    """Return a value as logfmt has it: in quotes where it could be taken for several."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


log = Log(sys.stderr, _SILENT, _as_text)


def configure(
    format: Literal["text", "json"],
    level: Literal["debug", "info", "warning", "error"],
    *,
    stream: TextIO | None = None,
) -> None:
    """Set where and how the process logs; once, at start. `stream` is standard error unless given.

    Warnings of libraries come out the same way, as the event `library`.
    """
    global log
    render = _to_json if format == "json" else _as_text
    log = Log(stream or sys.stderr, _LEVELS[level], render)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.addHandler(_libraries)


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say(
            "library",
            logger=record.name,
            message=without_login(record.getMessage()),
            traceback=traceback_of(record.exc_info[1]) if record.exc_info else None,
        )


_libraries = _LibraryHandler()


def traceback_of(error: BaseException | None) -> list[str] | None:
    if error is None:
        return None
    text = without_login("".join(traceback.format_exception(error)))
    return [_printable(line) for line in text[-_LONGEST_TRACEBACK:].splitlines()]


def places_of(error: BaseException) -> list[str]:
    """Return the traceback without any text of the errors in it."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _MOST_PLACES:
        lines = "".join(traceback.format_tb(cause.__traceback__)).splitlines()
        told += [*map(_printable, lines[-_MOST_PLACES:]), type(cause).__name__]
        cause = cause.__cause__ or cause.__context__
    return told
