"""Reply codes (RFC 5321 §4.2), status codes (RFC 3463) and the command answered, in text."""

import re
from dataclasses import dataclass

STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<![\d.:/\[-])([245][0-5]\d)(?=[ \-:]|$)(?![ -]\d{1,3}\b(?!\.))")
REFUSAL = re.compile(REPLY.pattern.replace("[245]", "[45]"))
TAGGED_REPLY = re.compile(
    r"(?:error_code ?:|responsecode |smtp;? ?|said: ?|reply:? ?|#|\[(?=\d{3}[ -]\D))"
    r"([245][0-5]\d)\b",
    re.I,
)
GENERIC = re.compile(r"[245]\.(0\.\d|0\.\d\d\d)")
SEARCHED_CHARS = 4_000

COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "CONN",
        (
            "[connect]",
            "smtp:connect",
            "after connection",
            "in reply to connect",
            "upon connecting",
            "during connect",
            "after initial connection",
            "did not like our connection",
            "did not like our greeting",
            "initial connection",
            "following connection",
            "refused to talk to me",
            "but greeting failed",
            "while performing the initial protocol",
            "in reply to initial greeting",
            "initial server greeting",
            "in reply to end of connect",
            "failed at connection",
        ),
    ),
    (
        "HELO",
        (
            "(state 12)",
            "helo command",
            "ehlo command",
            "following helo",
            "following ehlo",
            "in response to helo",
            "in response to ehlo",
            "after helo command",
            "sent: helo",
            "sent: ehlo",
            "sending helo",
            "sending ehlo",
            "my name was rejected",
            "in reply to helo",
            "in reply to ehlo",
            "after helo",
            "after ehlo",
            ">>> helo",
            ">>> ehlo",
            "[helo]",
            "[ehlo]",
            "smtp:ehlo",
            "smtp:helo",
            "smtp command helo",
            "smtp command ehlo",
            "did not like our ehlo",
            "did not like our helo",
        ),
    ),
    (
        "MAIL",
        (
            "following mail",
            "mail from command",
            "mail command",
            "in response to mail",
            "after sending mail from",
            "[mail]",
            "rejected sender",
            "does not like sender",
            "failed on mail",
            "error after mail",
            "sending mail from",
            "mail from:<",
            "sender was rejected",
            "in reply to mail from",
            "after mail from",
            ">>> mail from",
            "[mail_from]",
            "smtp:mail",
            "smtp command mail",
            "did not like our mail from",
            "sent: mail from",
            "server rejected mail from",
            "(state 13)",
        ),
    ),
    (
        "RCPT",
        (
            "rcpt command",
            "in response to rcpt",
            "(rcpt to)",
            "[rcpt]",
            "rejected recipient",
            "did not like our rcpt",
            "failed on rcpt",
            "recipient command",
            "does not like recipient",
            "not like recipient",
            "in reply to rcpt to",
            "after rcpt to",
            "after sending rcpt to",
            "following rcpt",
            "error after rcpt",
            ">>> rcpt to",
            "[rcpt_to]",
            "smtp:rcpt",
            "smtp command rcpt",
            "did not like our rcpt to",
            "sent: rcpt to",
            "sending rcpt to",
            "rcpt to:<",
            "rcpt to command",
            "(state 14)",
        ),
    ),
    (
        "DATA",
        (
            "following data",
            "data command",
            "in response to data",
            "in response to end of data",
            "message body command",
            "body of message",
            "after dot",
            "after message body",
            "after the message",
            "(data)",
            "end-of-data",
            "rejected message body",
            "after sending the message",
            "after sending message",
            "failed after i sent the message",
            "failed on data command",
            "in reply to data",
            "in reply to end of data",
            "in reply to .",
            "after data",
            "after end of data",
            "end of data",
            "pipelined data",
            ">>> data",
            ">>> .",
            "[data]",
            "[bodysent]",
            "[body]",
            "smtp:data",
            "did not like our data",
            "did not like our final data",
            "smtp command data",
            "sent: data",
            "(state 15)",
            "(state 16)",
            "(state 17)",
            "(state 18)",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What of a server's answer can be read; `command` is of SMTP, empty where unknown."""

    code: int | None
    status: str | None
    command: str


def read_reply(text: str) -> Reply:
    searched = text[:SEARCHED_CHARS]
    return Reply(_code(searched), _status(searched), command_in(searched))


def reply_in(text: str) -> str:
    """Return `text` from the first refusal in it on, empty where there is none."""
    match = _refusal(text[:SEARCHED_CHARS])
    return text[match.start(1) :] if match else ""


def is_generic(status: str) -> bool:
    """Whether a status tells its class only (RFC 3463 §3.1: x.0.0)."""
    return GENERIC.fullmatch(status) is not None


def command_in(text: str) -> str:
    """Return the last command that the text tells to have been answered."""
    searched = " ".join(text[:SEARCHED_CHARS].lower().split())
    last_at, last = -1, ""
    for command, phrases in COMMANDS:
        at = max(searched.rfind(phrase) for phrase in phrases)
        if at > last_at:
            last_at, last = at, command
    return last


def _code(text: str) -> int | None:
    match = _refusal(text) or REPLY.search(text)
    return int(match[1]) if match else None


def _refusal(text: str) -> re.Match[str] | None:
    return TAGGED_REPLY.search(text) or REFUSAL.search(text)


def _status(text: str) -> str | None:
    """Return the first status that tells more than its class, else the first."""
    found = STATUS.findall(text)
    return next((status for status in found if not is_generic(status)), found[0] if found else None)
