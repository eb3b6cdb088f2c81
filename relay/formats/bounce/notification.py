"""What Amazon SES tells by SNS in a mail: bounces, complaints and deliveries as JSON.

A mail server on the way may have folded the one long line, leaving `!` where it cut.
"""

import json
from dataclasses import dataclass

from relay.formats.bounce.encodings import printable
from relay.formats.bounce.feedback import Feedback
from relay.formats.bounce.finding import Finding
from relay.formats.bounce.letter import Head, Letter

TYPES = ("notificationType", "eventType")
SIZE_LIMIT_CHARS = 256_000
RECIPIENTS_LIMIT = 100
HEADERS_LIMIT = 200
TEXT_LIMIT_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Notification:
    findings: tuple[Finding, ...]
    feedback: Feedback | None
    original: Head


def read_notification(letter: Letter) -> Notification | None:
    told = _json_of(letter)
    if told is None:
        return None
    bounced, complained = _object(told, "bounce"), _object(told, "complaint")
    feedback = None
    if complained:
        named = [
            _text(each, "emailAddress") for each in _objects(complained, "complainedRecipients")
        ]
        feedback = Feedback(is_complaint=True, complainants=tuple(filter(None, named)))
    findings = [_bounced(each) for each in _objects(bounced, "bouncedRecipients")]
    return Notification(
        tuple(findings) + _delivered(_object(told, "delivery")), feedback, _original(told)
    )


def _json_of(letter: Letter) -> dict[str, object] | None:
    for part in letter.parts[:1]:
        text = "".join(_unfolded(part.lines))
        if not any(name in text for name in TYPES) or text.count("{") > SIZE_LIMIT_CHARS // 10:
            return None
        try:
            told, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
        except (ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None
    return None


def _unfolded(lines: tuple[str, ...]) -> list[str]:
    taken: list[str] = []
    for line in lines:
        if not taken and not line.startswith("{"):
            continue
        if not line.strip() or sum(map(len, taken)) > SIZE_LIMIT_CHARS:
            break
        taken.append(line.removesuffix("!").removeprefix(" ") if taken else line.removesuffix("!"))
    return taken


def _bounced(told: dict[str, object]) -> Finding:
    mechanism, _, diagnostic = _text(told, "diagnosticCode").partition(";")
    return Finding(
        address=_text(told, "emailAddress") or None,
        action=_text(told, "action").lower() or None,
        status=_text(told, "status") or None,
        diagnostic=(diagnostic or mechanism).strip(),
        mechanism=mechanism.strip().lower() if diagnostic else "",
    )


def _delivered(told: dict[str, object]) -> tuple[Finding, ...]:
    recipients = told.get("recipients")
    if not isinstance(recipients, list):
        return ()
    return tuple(
        Finding(address, action="delivered", diagnostic=_text(told, "smtpResponse"))
        for address in recipients[:RECIPIENTS_LIMIT]
        if isinstance(address, str)
    )


def _original(told: dict[str, object]) -> Head:
    headers = _objects(_object(told, "mail"), "headers")[:HEADERS_LIMIT]
    return Head(tuple((_text(each, "name").lower(), _text(each, "value")) for each in headers))


def _object(told: dict[str, object], name: str) -> dict[str, object]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}


def _objects(told: dict[str, object], name: str) -> list[dict[str, object]]:
    value = told.get(name)
    return (
        [each for each in value if isinstance(each, dict)][:RECIPIENTS_LIMIT]
        if isinstance(value, list)
        else []
    )


def _text(told: dict[str, object], name: str) -> str:
    value = told.get(name)
    return printable(value[:TEXT_LIMIT_CHARS]) if isinstance(value, str) else ""
