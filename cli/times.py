"""Times as people give them: RFC 3339, Unix seconds, or how far away."""

import re
import time
from datetime import datetime
from typing import Any

import click

UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
SPAN = re.compile(r"([+-]?)(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")


class Moment(click.ParamType[float]):
    """A time as Unix seconds. Without a sign, `2h` lies ahead, or behind where `is_past`."""

    name = "time"

    def __init__(self, *, is_past: bool = False) -> None:
        self._is_past = is_past

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = moment(str(value).strip(), time.time(), is_past=self._is_past)
        if found is None:
            self.fail(f"{value!r} is no time: 2026-05-01T08:00, 1777622400, 2h or 3d", param, ctx)
        return found


def moment(text: str, now: float, *, is_past: bool) -> float | None:
    """Read a time; without a zone it is this machine's. None for what is no time."""
    span = SPAN.fullmatch(text)
    if span:
        sign, number, unit = span.groups()
        is_behind = sign == "-" or (is_past and sign == "")
        away_s = float(number) * UNITS_S[unit]
        return now - away_s if is_behind else now + away_s
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else read_date(text)
    except ValueError:
        return None


def read_date(text: str) -> float:
    return datetime.fromisoformat(text).astimezone().timestamp()


class Span(click.ParamType[float]):
    """A length of time as seconds: `90`, `2h`, `3d`."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        span = SPAN.fullmatch(text if not text.isdigit() else f"{text}s")
        if span is None or span[1]:
            self.fail(f"{value!r} is no length of time: 90s, 2h or 3d", param, ctx)
        return float(span[2]) * UNITS_S[span[3]]
