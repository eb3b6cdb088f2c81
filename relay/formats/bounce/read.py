"""Read a mail that came back.

The stages, each asked only where those before it found nothing: a feedback report (RFC 5965), a
delivery report (RFC 3464), the same in the text, X-Failed-Recipients, the notice for people, then
flufl.bounce, and last the returned mail's own recipients. What was found is judged the same way
whatever found it.

Pure and bounded: `letter` limits what is looked at, and no input makes it raise.
"""

from dataclasses import replace

from relay.formats.bounce.dialogue import read_dialogue
from relay.formats.bounce.feedback import read_feedback
from relay.formats.bounce.finding import Finding
from relay.formats.bounce.flufl_reader import ask_library
from relay.formats.bounce.judge import judge
from relay.formats.bounce.kinds import WORST_FIRST
from relay.formats.bounce.letter import Head, Letter, read_letter
from relay.formats.bounce.mailbox import addresses_in
from relay.formats.bounce.model import Clues, Kind, Returned, ReturnedRecipient
from relay.formats.bounce.notice import notice_of
from relay.formats.bounce.notification import read_notification
from relay.formats.bounce.original import clues_of, original_heads
from relay.formats.bounce.recipients import addressed, read_notice, with_context
from relay.formats.bounce.report import envelope_id, read_report, read_report_in_text
from relay.formats.bounce.signs import came_back, is_away, is_warning, may_have_come_back

JUDGED_CHARS = 80_000
SHORTEST_CHARS = 400


def read_bounce(raw: bytes) -> Returned:
    letter = read_letter(raw)
    notification = read_notification(letter)
    originals = (notification.original,) if notification else original_heads(letter)
    clues = clues_of(letter, originals, envelope_id(letter))
    feedback = notification.feedback if notification else read_feedback(letter, originals)
    if feedback is not None:
        clues = replace(clues, complainants=feedback.complainants)
        return Returned(Kind.NONE, "feedback", (), feedback.is_complaint, clues)
    findings = notification.findings if notification else _findings(letter, originals)
    if findings:
        warning = is_warning(letter.head, notice_of(letter))
        return _returned(
            tuple(judge(each, is_warning=warning) for each in _within_budget(findings)), clues
        )
    return _no_bounce(letter, clues)


def _findings(letter: Letter, originals: tuple[Head, ...]) -> tuple[Finding, ...]:
    found = read_report(letter) or read_report_in_text(
        [line for part in letter.parts if part.type == "text/plain" for line in part.lines[:1000]]
    )
    if found:
        return with_context(_named(found, letter.head, originals), notice_of(letter))
    if not may_have_come_back(letter):
        return ()
    return _told(letter, notice_of(letter), originals)


def _told(
    letter: Letter, notice: tuple[str, ...], originals: tuple[Head, ...]
) -> tuple[Finding, ...]:
    if not came_back(letter, notice):
        return ()
    if failed := addresses_in(" ".join(letter.head.all("x-failed-recipients"))):
        return addressed(notice, failed)
    head = letter.head
    own = addresses_in(f"{head.first('to')} {head.first('from')}")
    return (
        read_dialogue(notice)
        or read_notice(notice, frozenset(address.lower() for address in own))
        or ask_library(letter.head, notice)
        or _meant(notice, originals)
    )


def _within_budget(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Cut the texts so that all of them together cost no more than a few of full length."""
    limit = max(SHORTEST_CHARS, JUDGED_CHARS // len(findings))
    return tuple(
        replace(each, diagnostic=each.diagnostic[:limit], context=each.context[:limit])
        for each in findings
    )


def _meant(notice: tuple[str, ...], originals: tuple[Head, ...]) -> tuple[Finding, ...]:
    """Take the recipient of the returned mail, where it had but one."""
    recipient = _only_recipient(originals)
    return addressed(notice, (recipient,)) if recipient else ()


def _only_recipient(originals: tuple[Head, ...]) -> str | None:
    for head in originals:
        recipients = addresses_in(f"{head.first('to')} {head.first('cc')}")
        if len(recipients) == 1:
            return recipients[0]
    return None


def _named(
    found: tuple[Finding, ...], head: Head, originals: tuple[Head, ...]
) -> tuple[Finding, ...]:
    """Give a report's only recipient an address where the report has a path or a number."""
    if len(found) > 1 or found[0].address:
        return found
    failed = addresses_in(" ".join(head.all("x-failed-recipients")))
    address = failed[0] if failed else _only_recipient(originals)
    return (replace(found[0], address=address),)


def _no_bounce(letter: Letter, clues: Clues) -> Returned:
    if not is_away(letter.head):
        return Returned(Kind.NONE, "undefined", (), False, clues)
    senders = addresses_in(letter.head.first("from"))
    away = ReturnedRecipient(
        address=senders[0] if senders else None,
        action=None,
        status=None,
        reply_code=None,
        kind=Kind.NONE,
        reason="vacation",
        diagnostic="",
        remote_mta=None,
    )
    return _returned((away,), clues)


def _returned(recipients: tuple[ReturnedRecipient, ...], clues: Clues) -> Returned:
    worst = min(recipients, key=lambda each: WORST_FIRST.index(each.kind))
    return Returned(worst.kind, worst.reason, recipients, False, clues)
