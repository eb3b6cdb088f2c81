"""The lines of the log: what one looks like, and how it is written."""

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

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
_URL_LOGIN = re.compile(r"://\S*@")

_Values = MutableMapping[str, object]
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode
_to_logfmt = structlog.processors.LogfmtRenderer(bool_as_flag=False)


class _Stream:
    """Writes whole lines. What one turn of the event loop says is written at once when it ends, and
    before any warning.
    """

    __slots__ = ("_lines", "_stream")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def later(self, line: str) -> bool:
        """Write it with the others of this turn; False where it was written, outside of a loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write(line + "\n")
            return False
        if not self._lines:
            loop.call_soon(self._flush)
        self._lines.append(line + "\n")
        return True

    def now(self, line: str) -> None:
        if self.later(line):
            self._flush()

    debug = info = later
    warning = error = now

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._write("".join(lines))

    def _write(self, text: str) -> None:
        # A full disk, a closed pipe, a closed stream (ValueError): see the module's promise.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _logger(
    stream: TextIO, level: int, render: Callable[[object, str, _Values], str]
) -> FilteringBoundLogger:
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Stream(stream),
        processors=[_cleaned, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=True,
    ).bind()
    return logger


def _cleaned(_logger: object, level: str, values: _Values) -> _Values:
    """Put time, level and event first, drop what is None, escape and cut the rest."""
    line: _Values = {"ts": _now(), "level": level, "event": values.pop("event")}
    for key, value in values.items():
        if isinstance(value, str):
            is_plain = len(value) <= _LONGEST_VALUE and value.isprintable()
            line[key] = value if is_plain else _safe(value)
        elif value is not None:
            line[key] = value
    return line


def _now() -> str:
    second, rest = divmod(time.time(), 1)
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


def _as_json(_logger: object, _level: str, line: _Values) -> str:
    return _to_json(line)


def _as_text(logger: object, level: str, line: _Values) -> str:
    """Render key=value; a traceback follows indented, so that no line of it looks like an event."""
    lines = line.pop("traceback", ())
    text = _to_logfmt(logger, level, line)
    return "\n    ".join([text, *lines]) if isinstance(lines, list) else text


log = _logger(sys.stderr, _SILENT, _as_text)


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
    render = _as_json if format == "json" else _as_text
    log = _logger(stream or sys.stderr, _LEVELS[level], render)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.addHandler(_libraries)


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.log(
            logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING,
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
