"""What a client's answer means: what it has taken, when it is called again, what is given up.

2xx acknowledges, but for `ok: false` and the ids in `error`; a 2xx that is not the JSON we ask for
acknowledges all. An answer that did not end does not: nobody knows what it would have said. All
else is a failure: the same events again, later.

Pure: no clock and no I/O.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from relay.store.events import StoredEvent
from relay.store.outbox import Receipt

# A client that means milliseconds, or its year 9999, must not be forgotten.
LONGEST_QUIET_S = 7 * 86_400
LONGEST_RETRY_AFTER_S = 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `fault` says why nothing did; then `status` is 0."""

    status: int
    body: bytes = b""
    retry_after: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means.

    `fault` is empty when the call is acknowledged, but for the ids in `refused`. `is_queued`: the
    client has more mail to post and wants to be called again. `wait_s` is the least wait that it
    asks for.
    """

    fault: str = ""
    refused: frozenset[str] = frozenset()
    not_found: int = 0
    is_queued: bool = False
    quiet_until: float = 0.0
    wait_s: float = 0.0


def judge(answer: Answer, now: float) -> Verdict:
    if answer.fault:
        return Verdict(fault=answer.fault)
    if not 200 <= answer.status < 300:
        wait_s = retry_after_s(answer.retry_after, now)
        return Verdict(fault=f"status {answer.status}", wait_s=wait_s)
    reply = object_of(answer.body)
    if reply.get("ok") is False:
        return Verdict(fault="the client answered ok: false")
    return Verdict(
        refused=ids_of(reply.get("error")),
        not_found=len(ids_of(reply.get("not_found"))),
        is_queued=number_of(reply.get("queued")) > 0,
        quiet_until=quiet_until(reply.get("next_sync_after"), now),
    )


def object_of(body: bytes) -> Mapping[str, object]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return reply if isinstance(reply, dict) else {}


def ids_of(value: object) -> frozenset[str]:
    """Return the ids in a list; some clients give numbers where they were given text."""
    if not isinstance(value, list):
        return frozenset()
    return frozenset(str(item) for item in value if isinstance(item, str | int))


def number_of(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else 0.0  # type: ignore[arg-type] # it is one


def quiet_until(value: object, now: float) -> float:
    """Return until when the client asks for rest, 0 when it does not."""
    asked = number_of(value)
    return min(asked, now + LONGEST_QUIET_S) if asked > now else 0.0


def retry_after_s(text: str, now: float) -> float:
    """Read Retry-After (RFC 9110 §10.2.3): seconds or a date."""
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), LONGEST_RETRY_AFTER_S))
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_RETRY_AFTER_S)


def receipt(
    events: Sequence[StoredEvent], refused: frozenset[str], now: float, give_up_s: float
) -> Receipt:
    """Say of each event that was told whether it is done, held for later or given up."""
    again = [event for event in events if event.id in refused]
    old = {e.place for e in again if e.refused_at is not None and e.refused_at <= now - give_up_s}
    return Receipt(
        now,
        done=tuple(event.place for event in events if event.id not in refused),
        held=tuple(event.place for event in again if event.place not in old),
        parked=tuple(event.place for event in again if event.place in old),
    )


def backoff_s(waits_s: Sequence[float], failures: int, spread: float) -> float:
    """Return how long to wait after so many failures in a row; `spread` is from -1 to 1."""
    wait_s = waits_s[min(failures, len(waits_s)) - 1]
    return wait_s * (1 + 0.2 * spread)
