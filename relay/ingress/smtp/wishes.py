"""What a client may ask of time and order in MAIL: when a mail is released, until when it is to be
delivered, and how urgent it is.

RFC 4865 (FUTURERELEASE: HOLDFOR, HOLDUNTIL), 2852 (DELIVERBY: BY), 6710 (MT-PRIORITY). Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from relay.formats.headers.controls import HORIZON_S
from relay.ingress.smtp.replies import bad_syntax
from relay.model import Priority

LONGEST_HOLD_S = int(HORIZON_S)
DAY_S = 86_400
# RFC 6710 has 19 levels, we have four. From 4 on MIXER calls it urgent (RFC 6710 Appendix A).
URGENT = 4

_HOLDFOR = re.compile(r"[1-9][0-9]{0,8}")  # RFC 4865 §3
_HOLDUNTIL = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})",
    re.IGNORECASE,
)
_BY = re.compile(r"([+-]?[0-9]{1,9});([RN])T?", re.IGNORECASE)  # RFC 2852 §4
_MT_PRIORITY = re.compile(r"-?[1-9]|0")  # RFC 6710 §4.1


@dataclass(frozen=True, slots=True)
class Wishes:
    """None where nothing is asked. `late_after_s` is where a mail that is late is to be told of,
    `expires_in_s` where it is to be given up. `level` is the urgency as it was asked for.
    """

    hold_for_s: float | None = None
    hold_until: float | None = None
    expires_in_s: float | None = None
    late_after_s: float | None = None
    level: int | None = None

    @property
    def priority(self) -> Priority | None:
        return None if self.level is None else priority_of(self.level)

    def release_at(self, now: float) -> float | None:
        """Return when the mail is due (Unix seconds); None for at once."""
        return self.hold_until if self.hold_for_s is None else now + self.hold_for_s

    def late_at(self, now: float) -> float | None:
        return None if self.late_after_s is None else now + self.late_after_s

    def check(self, now: float) -> None:
        """Raise Refused for a release farther away than we offer (RFC 4865 §4), or after the mail
        is to be returned.
        """
        release_at = self.release_at(now)
        if release_at is None:
            return
        if release_at > now + LONGEST_HOLD_S:
            raise bad_syntax("That is farther away than FUTURERELEASE offers")
        if self.expires_in_s is not None and release_at >= now + self.expires_in_s:
            raise bad_syntax("BY would return the mail before it is released")


NOTHING = Wishes()


def wishes(given: Mapping[str, str | None]) -> Wishes:
    """Read the parameters of MAIL, each of which was checked alone. Raises Refused."""
    hold_for, hold_until = given.get("HOLDFOR"), given.get("HOLDUNTIL")
    by, level = given.get("BY"), given.get("MT-PRIORITY")
    if not (hold_for or hold_until or by or level):
        return NOTHING
    if hold_for and hold_until:
        raise bad_syntax("HOLDFOR or HOLDUNTIL, not both")  # RFC 4865 §3
    by_time_s, is_return = _by(by) if by else (None, False)
    return Wishes(
        hold_for_s=float(hold_for) if hold_for else None,
        hold_until=_instant(hold_until) if hold_until else None,
        expires_in_s=by_time_s if is_return else None,
        late_after_s=None if is_return else by_time_s,
        level=int(level) if level else None,
    )


def priority_of(level: int) -> Priority:
    """Map a level of RFC 6710 (-9 to 9; 0 is normal) to ours."""
    if level < 0:
        return Priority.LOW
    if level == 0:
        return Priority.MEDIUM
    return Priority.HIGH if level < URGENT else Priority.IMMEDIATE


def offered(now: float) -> tuple[str, ...]:
    """Return what EHLO says of these extensions."""
    return _offered(int(now // DAY_S))


@lru_cache(maxsize=2)
def _offered(day: int) -> tuple[str, ...]:
    # The farthest date is that of the day's beginning: a promise that holds all day long.
    farthest = datetime.fromtimestamp(day * DAY_S + LONGEST_HOLD_S, UTC)
    return (
        f"FUTURERELEASE {LONGEST_HOLD_S} {farthest:%Y-%m-%dT%H:%M:%SZ}",
        "DELIVERBY",
        "MT-PRIORITY",
    )


def _by(value: str) -> tuple[float, bool]:
    found = _BY.fullmatch(value)
    if found is None:
        raise bad_syntax("BY: seconds;R or seconds;N expected")
    seconds, is_return = float(found[1]), found[2].upper() == "R"
    if is_return and seconds <= 0:
        raise bad_syntax("BY: a mail to be returned needs some time")  # RFC 2852 §4
    return seconds, is_return


def _instant(value: str) -> float:
    try:
        return datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        raise bad_syntax("HOLDUNTIL: a date and time as in RFC 3339 expected") from None


def is_hold_for(value: str | None) -> bool:
    return value is not None and bool(_HOLDFOR.fullmatch(value))


def is_hold_until(value: str | None) -> bool:
    return value is not None and bool(_HOLDUNTIL.fullmatch(value))


def is_by(value: str | None) -> bool:
    return value is not None and bool(_BY.fullmatch(value))


def is_level(value: str | None) -> bool:
    return value is not None and bool(_MT_PRIORITY.fullmatch(value))
