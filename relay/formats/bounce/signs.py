"""What sort of mail it is: one that came back, a warning, an answer of a program, or ordinary.

Ordinary mail lands in the mailbox too and is left alone, so a mail that only sounds like a bounce
is none: a program must have sent it, or the returned mail must be enclosed.
"""

from relay.formats.bounce.letter import Head, Letter, content_type
from relay.formats.bounce.original import TYPES as ORIGINALS

LINES_LIMIT = 60
VALUE_LIMIT_CHARS = 300

DAEMONS = (
    "<>",
    "administrator",
    "bounce",
    "delivery subsystem",
    "delivery system",
    "mail delivery",
    "mail-daemon",
    "mailadmin",
    "mailer-daemon",
    "mdaemon",
    "post_master",
    "postmaster",
    "sysadmin",
)
MAILERS = ("imail", "internet mail service", "m-filter", "smtp32", "surfcontrol")
FIELDS = ("x-failed-recipients", "x-ms-embedded-report", "x-bounced-address", "x-mlserver")
"Fields that only programs write which send mail back."
SUBJECTS = (
    "are not member",
    "bounce",
    "can't",
    "cannot send",
    "could not",
    "couldn't",
    "deliver",
    "dsn",
    "email validation",
    "error sending",
    "failed mail",
    "failure notice",
    "loop alert",
    "mail error",
    "mail failed",
    "mail failure",
    "mail system error",
    "mancata consegna",
    "message status",
    "message you sent blocked",
    "nicht zugestellt",
    "non remis",
    "not be sent",
    "not sent",
    "notice: mail",
    "notificaci",
    "postmaster notify",
    "rebotado",
    "rejected",
    "returned e-mail",
    "returned email",
    "returned mail",
    "returned message",
    "returning message",
    "returning to sender",
    "undeliver",
    "unzustellbar",
    "user unknown",
    "warning: message",
    "échec",
    "エラー",
    "メール",
    "送信",
    "配信",
)
TEXTS = (
    "can not deliver",
    "cannot be delivered",
    "cannot deliver",
    "could not be delivered",
    "delivery errors",
    "delivery failed",
    "delivery has failed",
    "delivery problems",
    "delivery status notification",
    "did not reach the following",
    "error message below",
    "failure reasons",
    "mail delivery failed",
    "message rejected",
    "no valid recipients",
    "not delivered",
    "permanent error",
    "permanent fatal error",
    "qmail-send program",
    "returned to sender",
    "transcript of session follows",
    "trouble delivering",
    "unable to deliver",
    "undeliverable",
    "unknown user",
    "user unknown",
    "was rejected",
)
WARNINGS = (
    "could not send message for past",
    "delivery delayed",
    "delivery has been delayed",
    "delivery is delayed",
    "delivery status notification (delay)",
    "delivery was delayed",
    "do not need to resend",
    "has been delayed",
    "message delayed",
    "not yet been delivered",
    "still being retried",
    "warning message only",
    "warning: could not send",
    "warning: message",
    "will be retried",
    "will continue to try",
)
AWAY = (
    "abwesenheit",
    "absence du bureau",
    "auto response",
    "auto-reply",
    "auto-response",
    "auto: ",
    "automatic reply",
    "automatic response",
    "autoreply",
    "away from",
    "away until",
    "fuori ufficio",
    "on holiday",
    "out of office",
    "out of the office",
    "respuesta automática",
    "risposta automatica",
    "réponse automatique",
    "vacation",
    "自動応答",
)
ANSWERS = ("x-autoreply", "x-autorespond")


def came_back(letter: Letter, notice: tuple[str, ...]) -> bool:
    """Whether the mail looks like a report on one that was sent."""
    head = letter.head
    if content_type(head)[0] == "multipart/report" or any(map(head.first, FIELDS)):
        return True
    is_daemon = _says(f"{head.first('from')} {head.first('return-path')}", DAEMONS)
    if _is_answer(head) and not is_daemon:
        return False  # Exim's bounces call themselves auto-replied
    encloses = any(part.type in ORIGINALS for part in letter.parts)
    if not (is_daemon or encloses or _says(head.first("x-mailer"), MAILERS)):
        return False
    return _says(head.first("subject"), SUBJECTS) or _notice_says(notice, TEXTS)


def is_warning(head: Head, notice: tuple[str, ...]) -> bool:
    """Whether the mail is still being tried."""
    return _says(head.first("subject"), WARNINGS) or _notice_says(notice, WARNINGS)


def is_away(head: Head) -> bool:
    """Whether a program answered for a person (RFC 3834 §5)."""
    if _is_answer(head) or any(map(head.first, ANSWERS)):
        return True
    if head.first("precedence").lower().replace("-", "_") == "auto_reply":
        return True
    return _says(head.first("subject"), AWAY)


def _is_answer(head: Head) -> bool:
    return head.first("auto-submitted").lower().startswith("auto-replied")


def _notice_says(notice: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return any(word in line.lower() for line in notice[:LINES_LIMIT] for word in words)


def _says(text: str, words: tuple[str, ...]) -> bool:
    lowered = text[:VALUE_LIMIT_CHARS].lower()
    return any(word in lowered for word in words)
