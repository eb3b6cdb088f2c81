"""Whether a mail came back at all: strangers' ordinary mail in the mailbox is left alone."""

import re

from relay.formats.bounce.letter import Head, Letter, content_type
from relay.formats.bounce.original import TYPES as ORIGINALS

DAEMON = re.compile(
    r"mailer-daemon|mail-daemon|postmaster|mail delivery|delivery system|delivery subsystem|bounce|"
    r"administrator|sysadmin|post_master|mdaemon|mailadmin|mail administrator|<>",
    re.I,
)
SUBJECT = re.compile(
    r"undeliver|deliver|failure notice|failed mail|returned mail|return(ed|ing) (e-?mail|message)|"
    r"mail system error|mail failure|mail error|rejected|could not|cannot send|not (be )?sent|bounce|"
    r"non remis|unzustellbar|nicht zugestellt|mancata consegna|postmaster notify|user unknown|"
    r"could ?n[o']t|error sending|loop alert|are not member|warning: message|email validation|"
    r"message status|mail failed|returning to sender|dsn|notice: mail|message you sent blocked|rebotado|notificaci|échec|"
    r"配信|送信|エラー|メール",
    re.I,
)
TOLD_IN_HEAD = ("x-failed-recipients", "x-ms-embedded-report", "x-bounced-address", "x-mlserver")
MAILERS = re.compile(r"smtp32|m-filter|internet mail service|surfcontrol|imail", re.I)
TEXT = re.compile(
    r"qmail-send program|could not be delivered|delivery (has )?failed|was not delivered|"
    r"undeliverable|did not reach the following|unable to deliver|transcript of session follows|"
    r"failure reasons|permanent (fatal )?error|returned to sender|delivery status notification|"
    r"message rejected|was rejected|unknown user|user unknown|mail delivery failed|error message below|no valid recipients|trouble delivering|delivery (?:errors|problems)|"
    r"cannot be delivered|can ?not deliver|not delivered",
    re.I,
)
REPLY = re.compile(r"auto-(?:replied|generated)|auto.?reply|vacation", re.I)
AWAY = re.compile(
    r"(?:automatic|auto)[ -]?(?:reply|response)|out of (?:the )?office|away (?:from|until)|vacation|"
    r"abwesenheit|réponse automatique|absence du bureau|risposta automatica|fuori ufficio|"
    r"respuesta automática|自動応答|on holiday|autoreply|\bauto:",
    re.I,
)


def came_back(letter: Letter, notice: tuple[str, ...]) -> bool:
    """Whether the mail looks like a report on one that was sent."""
    head = letter.head
    kind, _ = content_type(head)
    if kind == "multipart/report" or any(head.first(name) for name in TOLD_IN_HEAD):
        return True
    is_daemon = bool(DAEMON.search(f"{head.first('from')} {head.first('return-path')}"))
    if head.first("auto-submitted").lower().startswith("auto-replied") and not is_daemon:
        return False  # Exim's bounces say so too
    is_mailer = bool(MAILERS.search(head.first("x-mailer")[:100]))
    encloses = any(part.type in ORIGINALS for part in letter.parts)
    if not (is_daemon or is_mailer or encloses):
        return False
    subject, text = head.first("subject")[:300], "\n".join(notice[:60])
    return bool(SUBJECT.search(subject) or TEXT.search(text))


def is_away(head: Head) -> bool:
    """Whether a program answered for a person (RFC 3834 §5)."""
    submitted = head.first("auto-submitted").lower()
    if (
        submitted.startswith("auto-replied")
        or head.first("x-autoreply")
        or head.first("x-autorespond")
    ):
        return True
    if head.first("precedence").lower().replace("-", "_") == "auto_reply":
        return True
    return bool(AWAY.search(head.first("subject")[:300]))
