"""What sort of mail it is: one that came back, a warning, an answer of a program, or ordinary.

Ordinary mail lands in the mailbox too and is left alone, so a mail that only sounds like a bounce
is none: a program must have sent it, or the returned mail must be enclosed.
"""

from relay.formats.bounce.encodings import unencoded
from relay.formats.bounce.letter import Head, Letter, content_type
from relay.formats.bounce.original import TYPES as ORIGINALS

LINES_LIMIT = 60
VALUE_LIMIT_CHARS = 300

DAEMONS = (
    "<>",
    "administrator",
    "bounce",
    "content-filter",
    "delivery subsystem",
    "delivery system",
    "dsn@",
    "email delivery",
    "mail daemon",
    "mail deliver",
    "mail delivery",
    "mail-daemon",
    "mailadmin",
    "maildaemon",
    "mailer daemon",
    "mailer-daemon",
    "mailsystem",
    "mdaemon",
    "microsoftexchange",
    "no-reply-bounce",
    "post_master",
    "postmaster",
    "postoffice",
    "sysadmin",
)
MAILERS = ("imail", "internet mail service", "m-filter", "smtp32", "surfcontrol")
FIELDS = ("x-failed-recipients", "x-ms-embedded-report", "x-bounced-address", "x-mlserver")
"Fields that only programs write which send mail back."
SUBJECTS = (
    "are not member",
    "blocked by",
    "bounce",
    "can't",
    "cannot send",
    "could not",
    "couldn't",
    "delayed",
    "deliver",
    "dsn",
    "email validation",
    "error sending",
    "failed mail",
    "failure notice",
    "går inte",
    "ikke leveres",
    "impossibile",
    "kan niet",
    "kunne ikke",
    "loop alert",
    "mail error",
    "mail failed",
    "mail failure",
    "mail returned",
    "mail system error",
    "mancata consegna",
    "message blocked",
    "message bounced",
    "message failed",
    "message not",
    "message rejected",
    "message status",
    "message you sent blocked",
    "nao entregue",
    "nedoručiteln",
    "nicht zugestellt",
    "nie można",
    "niedostarcz",
    "niet bestelbaar",
    "no entregado",
    "no se ha podido",
    "no se pudo",
    "non consegnat",
    "non recapit",
    "non remis",
    "not be sent",
    "not deliverable",
    "not sent",
    "notice: mail",
    "notificaci",
    "notification d'",
    "não entregue",
    "não foi",
    "oleverbart",
    "olevererbart",
    "onbestelbaar",
    "permanent fail",
    "postmaster notify",
    "rebotado",
    "recapito",
    "rejected",
    "rejet",
    "retour",
    "retourn",
    "return to sender",
    "returned",
    "returned e-mail",
    "returned email",
    "returned mail",
    "returned message",
    "returned to sender",
    "returning message",
    "returning to sender",
    "undeliver",
    "undelivered",
    "unknown user",
    "unzustellbar",
    "unzustellbare",
    "user unknown",
    "warning: message",
    "zurück",
    "échec",
    "не достав",
    "не доставлен",
    "не удалось",
    "недоставлен",
    "エラー",
    "メール",
    "不達",
    "届け",
    "无法",
    "未送达",
    "未達",
    "系统退信",
    "返送",
    "退信",
    "送信",
    "配信",
    "配送",
)
TEXTS = (
    "address failed",
    "address(es) failed",
    "addresses failed",
    "can not deliver",
    "cannot be delivered",
    "cannot deliver",
    "could not be delivered",
    "couldn't be delivered",
    "delivery errors",
    "delivery failed",
    "delivery has failed",
    "delivery problems",
    "delivery status notification",
    "delivery to the following",
    "did not reach",
    "did not reach the following",
    "error de entrega",
    "error en la entrega",
    "error message below",
    "failed recipient",
    "failure reasons",
    "falha na entrega",
    "fehler bei der nachrichtenzustellung",
    "following addresses had",
    "has been rejected",
    "has been returned",
    "hasn't been delivered",
    "het is niet gelukt",
    "impossible de remettre",
    "kan niet worden",
    "konnte nicht zugestellt",
    "mail delivery failed",
    "message rejected",
    "n'a pas pu être",
    "n'a pu être",
    "nicht zugestellt",
    "no se pudo entregar",
    "no valid recipients",
    "non è possibile",
    "non è stato",
    "not been delivered",
    "not deliver your message",
    "not delivered",
    "não foi possível",
    "não pôde ser",
    "permanent error",
    "permanent failure",
    "permanent fatal error",
    "qmail-send program",
    "recapito non riuscito",
    "rejected your message",
    "returned to sender",
    "transcript of session follows",
    "trouble delivering",
    "unable to deliver",
    "undeliverable",
    "unknown user",
    "user unknown",
    "was not delivered",
    "was rejected",
    "wasn't able to deliver",
    "wasn't delivered",
    "were not delivered",
    "échec de la remise",
    "не было доставлено",
    "не доставлено",
    "не может быть",
    "не удалось доставить",
    "届けることが",
    "无法发送",
    "无法投递",
    "被退回",
    "送信できません",
    "送達できません",
    "配信できません",
    "配信不能",
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


def may_have_come_back(letter: Letter) -> bool:
    """Whether who sent the mail, and how, lets it be a report on one that was sent."""
    head = letter.head
    if _is_report(head):
        return True
    is_daemon = _is_daemon(head)
    if _is_answer(head) and not is_daemon:
        return False  # Exim's bounces call themselves auto-replied
    return is_daemon or _encloses(letter) or _says(head.first("x-mailer"), MAILERS)


def came_back(letter: Letter, notice: tuple[str, ...]) -> bool:
    """Whether the mail looks like a report on one that was sent."""
    head = letter.head
    if _is_report(head):
        return True
    if not may_have_come_back(letter):
        return False
    return (_is_daemon(head) and _encloses(letter)) or _says_so(head, notice)


def _is_daemon(head: Head) -> bool:
    return _says(f"{head.first('from')} {head.first('return-path')}", DAEMONS)


def _encloses(letter: Letter) -> bool:
    return any(part.type in ORIGINALS for part in letter.parts)


def _is_report(head: Head) -> bool:
    return content_type(head)[0] == "multipart/report" or any(map(head.first, FIELDS))


def _says_so(head: Head, notice: tuple[str, ...]) -> bool:
    return _says(_subject(head), SUBJECTS) or _notice_says(notice, TEXTS)


def is_warning(head: Head, notice: tuple[str, ...]) -> bool:
    """Whether the mail is still being tried."""
    return _says(_subject(head), WARNINGS) or _notice_says(notice, WARNINGS)


def is_away(head: Head) -> bool:
    """Whether a program answered for a person (RFC 3834 §5)."""
    if _is_answer(head) or any(map(head.first, ANSWERS)):
        return True
    if head.first("precedence").lower().replace("-", "_") == "auto_reply":
        return True
    return _says(_subject(head), AWAY)


def _subject(head: Head) -> str:
    return " ".join(unencoded(head.first("subject")[:VALUE_LIMIT_CHARS]).split())


def _is_answer(head: Head) -> bool:
    return head.first("auto-submitted").lower().startswith("auto-replied")


def _notice_says(notice: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return any(word in line.lower() for line in notice[:LINES_LIMIT] for word in words)


def _says(text: str, words: tuple[str, ...]) -> bool:
    lowered = text[:VALUE_LIMIT_CHARS].lower()
    return any(word in lowered for word in words)
