"""The arguments of MAIL and RCPT: addresses and the parameters of the extensions.

RFC 5321 §4.1.2 (syntax), 1870 (SIZE), 6152 (BODY), 6531 (SMTPUTF8), 3461 (RET, ENVID, NOTIFY,
ORCPT), 4954 §5 (AUTH); those of time and order are in `wishes`. A parameter that we do not offer is
refused (555), never dropped: the client would believe in something that does not happen.

What is written a little wrong is repaired where nothing else can be meant: a blank before the path
for everybody, as all mail servers do, missing angle brackets only for a login that is `legacy`.
Pure.
"""

import re
from collections.abc import Callable, Mapping

from relay.errors import Refused
from relay.formats.address import mailbox, split_path
from relay.ingress.smtp import wishes
from relay.ingress.smtp.replies import bad_syntax
from relay.ingress.smtp.wishes import Wishes
from relay.ingress.submission import Repair
from relay.value import frozen

ENVID_MAX_CHARS = 100  # RFC 3461 §4.4
ORCPT_MAX_CHARS = 500  # RFC 3461 §4.2

_DIGITS = re.compile(r"[0-9]{1,20}")  # RFC 1870 §4
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_BARE_PATH = re.compile(r" *([^ <>\"]+)( .*)?")
_ORCPT = re.compile(r"([A-Za-z0-9-]+);(.+)")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


Repairs = tuple[Repair, ...]


@frozen
class MailFrom:
    """`sender` is canonical, "" for the null path. `size_bytes` is 0 where none was given."""

    sender: str
    size_bytes: int = 0
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    wishes: Wishes = wishes.NOTHING
    repairs: Repairs = ()


@frozen
class RcptTo:
    address: str
    notify: str | None = None
    orcpt: str | None = None
    repairs: Repairs = ()


def mail_from(argument: str, *, is_legacy: bool = False) -> MailFrom:
    """Read what follows MAIL. Raises Refused."""
    try:
        path, text, repairs = _path(argument, "FROM:", is_legacy=is_legacy)
        given = _parameters(text, _MAIL) if text else {}
        smtputf8 = "SMTPUTF8" in given
        sender = mailbox(path, smtputf8=smtputf8) if path else ""
    except Refused as refused:
        raise _of_sender(refused) from None
    ret = given.get("RET")
    return MailFrom(
        sender=sender,
        size_bytes=int(given.get("SIZE") or 0),
        smtputf8=smtputf8,
        ret=ret.upper() if ret else None,
        envid=given.get("ENVID"),
        wishes=wishes.wishes(given) if given else wishes.NOTHING,
        repairs=repairs,
    )


def rcpt_to(argument: str, *, smtputf8: bool, is_legacy: bool = False) -> RcptTo:
    """Read what follows RCPT; `smtputf8` is what MAIL asked for. Raises Refused."""
    path, text, repairs = _path(argument, "TO:", is_legacy=is_legacy)
    given = _parameters(text, _RCPT) if text else {}
    notify = given.get("NOTIFY")
    return RcptTo(
        address=mailbox(path, smtputf8=smtputf8),
        notify=notify.upper() if notify else None,
        orcpt=given.get("ORCPT"),
        repairs=repairs,
    )


def _of_sender(refused: Refused) -> Refused:
    """Give a bad address its code as a sender's (RFC 3463 §3.2)."""
    if refused.enhanced != "5.1.3":
        return refused
    return Refused(str(refused), code=refused.code, enhanced="5.1.7")


def _path(argument: str, keyword: str, *, is_legacy: bool) -> tuple[str, str, Repairs]:
    """Split it into the path, its parameters, and how it was repaired."""
    if argument[: len(keyword)].upper() != keyword:
        raise bad_syntax(f"Syntax: {keyword}<address> expected")
    text = argument[len(keyword) :]
    repairs: Repairs = (Repair.SPACE_BEFORE_PATH,) if text.startswith(" ") else ()
    bare = _BARE_PATH.fullmatch(text) if is_legacy else None
    if bare is not None:
        text = f"<{bare[1]}>{bare[2] or ''}"
        repairs = (*repairs, Repair.NO_BRACKETS)
    return (*split_path(text), repairs)


def _parameters(text: str, known: "Mapping[str, _Check]") -> dict[str, str | None]:
    """Split `NAME=value NAME …` and check each value; names in upper case."""
    given: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        found = _PARAMETER.fullmatch(word)
        if found is None:
            raise bad_syntax("Bad parameter syntax")
        name, value = found[1].upper(), found[2]
        check = known.get(name)
        if check is None:
            raise Refused(f"Parameter {name} is not known here", code=555, enhanced="5.5.4")
        if name in given or not check(value):
            raise bad_syntax(f"Bad value of {name}, or {name} given twice")
        given[name] = value
    return given


def _is_absent(value: str | None) -> bool:
    return value is None


def _is_size(value: str | None) -> bool:
    return value is not None and bool(_DIGITS.fullmatch(value))


def _is_body(value: str | None) -> bool:
    return value is not None and value.upper() in ("7BIT", "8BITMIME")


def _is_ret(value: str | None) -> bool:
    return value is not None and value.upper() in ("FULL", "HDRS")


def _is_envid(value: str | None) -> bool:
    return value is not None and len(value) <= ENVID_MAX_CHARS and bool(_XTEXT.fullmatch(value))


def _is_submitter(value: str | None) -> bool:
    """Check AUTH=; it is not believed: who logged in is who sends (RFC 4954 §5)."""
    return value is not None and (value == "<>" or bool(_XTEXT.fullmatch(value)))


def _is_notify(value: str | None) -> bool:
    words = (value or "").upper().split(",")
    return words == ["NEVER"] or (_NOTIFY.issuperset(words) and len(set(words)) == len(words))


def _is_orcpt(value: str | None) -> bool:
    found = _ORCPT.fullmatch(value or "")
    if found is None or len(found[0]) > ORCPT_MAX_CHARS:
        return False
    # RFC 6533 §3: of type utf-8 it may be written as it is. What is not UTF-8 is not printable.
    return bool(_XTEXT.fullmatch(found[2])) or (
        found[1].lower() == "utf-8" and found[2].isprintable()
    )


_Check = Callable[[str | None], bool]

_MAIL: dict[str, _Check] = {
    "SIZE": _is_size,
    "BODY": _is_body,
    "SMTPUTF8": _is_absent,
    "RET": _is_ret,
    "ENVID": _is_envid,
    "AUTH": _is_submitter,
    "HOLDFOR": wishes.is_hold_for,
    "HOLDUNTIL": wishes.is_hold_until,
    "BY": wishes.is_by,
    "MT-PRIORITY": wishes.is_level,
}
_RCPT: dict[str, _Check] = {"NOTIFY": _is_notify, "ORCPT": _is_orcpt}
