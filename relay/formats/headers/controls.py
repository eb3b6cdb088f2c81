"""What a mail asks of us in its X-Pillarbox-* fields.

They are believed only from a credential, and `outgoing` takes them out. A value that is not
understood refuses the mail: sending it at the wrong time or twice is worse than not taking it.
Fields of ours that we do not know are ignored, and so is an X-Pillarbox-ID that another Pillarbox
put in front of a mail which passed through it: that is its pk, and no wish of a client.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from relay.errors import Refused
from relay.formats.characters import has_forbidden
from relay.formats.headers.head import Head
from relay.formats.headers.trace import is_id_of
from relay.formats.headers.words import decode_words
from relay.model import Priority

ID_MAX_CHARS = 255
BATCH_MAX_CHARS = 64
METADATA_MAX_BYTES = 8192
HORIZON_S = 366 * 86_400.0

_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Controls:
    """None where the mail asks nothing. `metadata` is a compact JSON object as text."""

    id: str | None = None
    account: str | None = None
    priority: Priority | None = None
    batch: str | None = None
    deliver_at: float | None = None
    expires_in_s: float | None = None
    metadata: str | None = None
    idempotency_key: str | None = None


_NONE = Controls()


def controls(head: Head, now: float) -> Controls:
    """Read the control fields of a head. Raises Refused with a text that names the field."""
    if not head.has_ours:
        return _NONE
    return Controls(
        id=_asked_id(head),
        account=_text(head, "X-Pillarbox-Account", ID_MAX_CHARS),
        priority=_priority(head),
        batch=_text(head, "X-Pillarbox-Batch", BATCH_MAX_CHARS),
        deliver_at=_deliver_at(head, now),
        expires_in_s=_expires_in_s(head),
        metadata=_metadata(head),
        idempotency_key=_text(head, "X-Pillarbox-Idempotency-Key", ID_MAX_CHARS),
    )


def _refuse(name: str, what: str) -> NoReturn:
    raise Refused(f"{name}: {what}", code=550, enhanced="5.6.0")


def _value(head: Head, name: str) -> str | None:
    values = head.all(name)
    if not values:
        return None
    if len(values) > 1:
        _refuse(name, "given more than once")
    value = decode_words(values[0])
    if not value:
        _refuse(name, "empty")
    if has_forbidden(value):
        _refuse(name, "control character")
    return value


def _text(head: Head, name: str, max_chars: int) -> str | None:
    value = _value(head, name)
    if value is not None and len(value) > max_chars:
        _refuse(name, f"longer than {max_chars} characters")
    return value


def _asked_id(head: Head) -> str | None:
    asked = _text(head, "X-Pillarbox-Id", ID_MAX_CHARS)
    is_trace = asked is not None and any(is_id_of(r, asked) for r in head.all("Received"))
    return None if is_trace else asked


def _priority(head: Head) -> Priority | None:
    name = "X-Pillarbox-Priority"
    value = _value(head, name)
    if value is None:
        return None
    for priority in Priority:
        if value.upper() in (priority.name, str(priority.value)):
            return priority
    _refuse(name, "0 to 3, immediate, high, medium or low expected")


def _deliver_at(head: Head, now: float) -> float | None:
    name = "X-Pillarbox-Deliver-At"
    value = _value(head, name)
    if value is None:
        return None
    at = float(value) if _SECONDS.fullmatch(value) else _rfc3339(value)
    if at is None:
        _refuse(name, "RFC 3339 with a time zone, or Unix seconds, expected")
    if at > now + HORIZON_S:
        _refuse(name, "more than a year ahead")
    return at


def _rfc3339(value: str) -> float | None:
    try:
        at = datetime.fromisoformat(value)
        return at.timestamp() if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _expires_in_s(head: Head) -> float | None:
    name = "X-Pillarbox-Expires-In"
    value = _value(head, name)
    if value is None:
        return None
    if not _SECONDS.fullmatch(value) or not 0 < float(value) <= HORIZON_S:
        _refuse(name, "a number of seconds expected, at most a year")
    return float(value)


def _metadata(head: Head) -> str | None:
    name = "X-Pillarbox-Metadata"
    value = _value(head, name)
    if value is None:
        return None
    try:
        found = json.loads(value, object_pairs_hook=_without_twins, parse_constant=_no_constant)
        compact = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        size_bytes = len(compact.encode())
    except (ValueError, RecursionError):
        _refuse(name, "a JSON object expected")
    if not isinstance(found, dict) or "\\u0000" in compact:
        _refuse(name, "a JSON object expected")
    if size_bytes > METADATA_MAX_BYTES:
        _refuse(name, f"more than {METADATA_MAX_BYTES} bytes")
    return compact


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
