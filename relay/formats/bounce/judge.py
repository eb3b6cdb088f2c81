"""From what was found about a recipient to what it means."""

import re

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.kinds import NO_FAILURE, kind_of
from relay.formats.bounce.model import Kind, ReturnedRecipient
from relay.formats.bounce.reason import Case, reason_of
from relay.formats.bounce.reply import Reply, command_in, is_generic, read_reply

DIAGNOSTIC_LIMIT_CHARS = 1_000
RETRIED = re.compile(r"(?<!delivery )retry time(?:out exceeded|out| not reached)")
"How Exim ends a row of temporary failures that had no code."
DELAYED, FAILED = "delayed", "failed"


def judge(finding: Finding, *, is_warning: bool) -> ReturnedRecipient:
    action = finding.action or (DELAYED if is_warning else FAILED)
    reply = _reply(finding)
    status = _status(finding, reply, action)
    reason = _reason(finding, reply, status, action)
    return ReturnedRecipient(
        address=finding.address,
        action=action,
        status=status,
        reply_code=reply.code,
        kind=_kind(reason, action, status),
        reason=reason,
        diagnostic=" ".join(finding.diagnostic.split())[:DIAGNOSTIC_LIMIT_CHARS],
        remote_mta=finding.remote_mta,
    )


def _reply(finding: Finding) -> Reply:
    own = read_reply(finding.diagnostic)
    around = read_reply(finding.context)
    return Reply(
        code=own.code or around.code,
        status=own.status or (around.status if _tells_little(finding.status) else None),
        command=own.command or command_in(finding.context),
    )


def _tells_little(status: str | None) -> bool:
    reported = read_reply(status or "").status
    return reported is None or is_generic(reported)


def _status(finding: Finding, reply: Reply, action: str | None) -> str | None:
    """Prefer what the server said to what the reporting mailer made of it."""
    reported = read_reply(finding.status or "").status
    if reply.status and (not is_generic(reply.status) or not reported):
        return reply.status
    if reported:
        return reported
    return "4.0.0" if RETRIED.search(finding.diagnostic) else _class(reply, action)


def _class(reply: Reply, action: str | None) -> str:
    if reply.code is not None and reply.code >= 400:
        return f"{reply.code // 100}.0.0"
    if action in NO_FAILURE:
        return "4.0.0" if action == DELAYED else "2.0.0"
    return "5.0.0"


def _reason(finding: Finding, reply: Reply, status: str | None, action: str | None) -> str:
    if action in NO_FAILURE and action != DELAYED:
        return "delivered"
    case = Case(
        reply=reply,
        status=status,
        mechanism=finding.mechanism,
        category=finding.category,
        diagnostic=finding.diagnostic,
        context=finding.context,
        is_delayed=action == DELAYED,
    )
    return reason_of(case)


def _kind(reason: str, action: str | None, status: str | None) -> Kind:
    kind = kind_of(reason, action)
    is_for_now = status is not None and status.startswith("4")
    if kind is Kind.HARD and is_for_now and reason != "userunknown":
        return Kind.SOFT
    return kind
