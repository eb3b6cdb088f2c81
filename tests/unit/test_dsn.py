"""The notifications that we write: read back by Python's `email` and by our own reader of
bounces.
"""

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage, Message
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.formats.bounce.model import Kind
from relay.formats.bounce.read import read_bounce
from relay.formats.dsn import Action, Fate, Notification, Original, compose, head_of, is_answer
from relay.formats.headers import assess, scan
from relay.formats.recode import to_7bit
from relay.formats.xtext import decoded, in_ascii, typed_address
from relay.model import DsnWish, Ingress
from relay.store.queue.notices import asked, is_wanted

MAIL = (
    b"Received: from app ([192.0.2.1])\r\n\tby relay.test; Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"From: ann@acme.test\r\nTo: bob@there.test\r\nSubject: hello\r\n"
    b"Message-ID: <first@acme.test>\r\n\r\nThe body.\r\n"
)
ORIGINAL = Original("pk-1", "ann@acme.test", 1_790_000_000.0, MAIL, True)
FAILED = Fate(
    "bob@there.test",
    Action.FAILED,
    "5.1.1",
    "5.1.1 no such user",
    "5.1.1 no such user",
    code=550,
    remote="mx.there.test",
    last_attempt_at=1_790_000_100.0,
)
UTF8_HEAD = "Subject: grüße\r\nMessage-ID: <u@acme.test>\r\n\r\n".encode()


def note(*fates: Fate, **changes: object) -> Notification:
    original = replace(ORIGINAL, **changes)  # type: ignore[arg-type]
    author = "MAILER-DAEMON@relay.test"
    return Notification("pk-2", "relay.test", author, 1_790_000_200.0, original, fates or (FAILED,))


def read(content: bytes) -> EmailMessage:
    assess(content)
    mail = email.message_from_bytes(content, policy=email.policy.SMTPUTF8)
    assert mail.defects == []
    return mail


def groups(content: bytes) -> list[Message]:
    """The fields of the status part: those of the mail, then those of each recipient."""
    part = read(content).get_payload(1)
    assert isinstance(part, Message)
    payload = part.get_payload()
    assert isinstance(payload, list)
    return cast("list[Message]", payload)


def third(content: bytes) -> EmailMessage:
    part = read(content).get_payload(2)
    return cast(EmailMessage, part)


def test_it_is_a_report_with_the_head_that_reports_have() -> None:
    mail = read(compose(note()))
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    assert mail["From"] == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert mail["To"] == "ann@acme.test"
    assert mail["Subject"] == "Undelivered Mail Returned to Sender"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["Message-ID"] == "<pk-2@relay.test>"
    assert mail["In-Reply-To"] == mail["References"] == "<first@acme.test>"
    kinds = [part.get_content_type() for part in mail.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]


def test_the_status_names_the_mail_and_each_recipient() -> None:
    late = replace(FAILED, address="eve@there.test", action=Action.DELAYED, status="4.2.0")
    late = replace(late, retry_until=1_790_400_000.0, code=450, reply="later", diagnostic="later")
    about, first, second = groups(compose(note(FAILED, late, envid="env+2Bone")))
    assert about["Reporting-MTA"] == "dns; relay.test"
    assert about["Original-Envelope-Id"] == "env+one"
    assert about["Arrival-Date"].startswith("Mon, 21 Sep 2026")
    assert first["Original-Recipient"] is None
    assert first["Final-Recipient"] == "rfc822; bob@there.test"
    assert (first["Action"], first["Status"]) == ("failed", "5.1.1")
    assert first["Remote-MTA"] == "dns; mx.there.test"
    assert first["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert first["Last-Attempt-Date"] is not None
    assert first["Will-Retry-Until"] is None
    assert (second["Action"], second["Status"]) == ("delayed", "4.2.0")
    assert second["Will-Retry-Until"] is not None


def test_the_original_recipient_keeps_its_case_and_loses_its_xtext() -> None:
    fate = replace(FAILED, orcpt="rfc822;Bob+2Bnews@There.Test")
    assert groups(compose(note(fate)))[1]["Original-Recipient"] == "rfc822;Bob+news@There.Test"


def test_what_this_relay_itself_says_is_not_said_to_be_smtp() -> None:
    fate = replace(FAILED, code=0, remote=None, status="4.4.7", diagnostic="expired")
    group = groups(compose(note(fate)))[1]
    assert group["Diagnostic-Code"] == "X-Pillarbox; expired"
    assert group["Remote-MTA"] is None


@pytest.mark.parametrize(
    ("ret", "action", "is_whole", "kind"),
    [
        ("FULL", Action.FAILED, True, "message/rfc822"),
        ("FULL", Action.FAILED, False, "text/rfc822-headers"),
        ("FULL", Action.DELAYED, True, "text/rfc822-headers"),
        ("HDRS", Action.FAILED, True, "text/rfc822-headers"),
        (None, Action.FAILED, True, "text/rfc822-headers"),
    ],
)
def test_the_mail_comes_back_whole_only_where_it_may(
    ret: str | None, action: Action, is_whole: bool, kind: str
) -> None:
    content = compose(note(replace(FAILED, action=action), ret=ret, is_whole=is_whole))
    part = third(content)
    assert part.get_content_type() == kind
    assert (b"The body." in content) == (kind == "message/rfc822")
    assert b"Subject: hello\r\n" in content


def test_subjects_tell_failure_from_delay_from_success() -> None:
    def subject(*actions: Action) -> str:
        return str(read(compose(note(*(replace(FAILED, action=a) for a in actions))))["Subject"])

    assert subject(Action.RELAYED, Action.FAILED) == "Undelivered Mail Returned to Sender"
    assert subject(Action.RELAYED, Action.DELAYED) == "Delayed Mail (still being retried)"
    assert subject(Action.RELAYED) == "Successful Mail Delivery Report"


def test_an_international_recipient_is_told_of_in_the_forms_of_rfc_6533() -> None:
    fate = replace(
        FAILED, address="用户@example.test", orcpt="utf-8;\\x{7528}\\x{6237}@example.test"
    )
    content = compose(note(fate, content=UTF8_HEAD, sender="ann@acme.test"))
    mail = read(content)
    kinds = [part.get_content_type() for part in mail.iter_parts()]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "Final-Recipient: utf-8; 用户@example.test\r\n".encode() in content
    assert "Original-Recipient: utf-8;用户@example.test\r\n".encode() in content
    traits = assess(content)
    assert traits.has_8bit
    # Its own head is ASCII: the servers on its way need no SMTPUTF8.
    assert not traits.has_utf8_headers


def test_an_international_report_passes_a_server_of_7_bits() -> None:
    fate = replace(FAILED, address="用户@example.test")
    narrow = to_7bit(compose(note(fate, content=UTF8_HEAD)))
    assert narrow.isascii()
    part = read(narrow).get_payload(1)
    assert isinstance(part, Message)
    assert part.get_content_type() == "message/global-delivery-status"


def test_an_international_sender_is_written_to_as_such() -> None:
    content = compose(note(sender="用户@acme.test"))
    assert assess(content).has_utf8_headers
    assert read(content).get_payload(1).get_content_type() == "message/delivery-status"  # type: ignore[union-attr]


def test_whole_mail_with_an_international_head_is_message_global() -> None:
    content = compose(note(ret="FULL", content=UTF8_HEAD + "ü\r\n".encode()))
    assert third(content).get_content_type() == "message/global"


def test_a_head_in_an_unknown_charset_comes_back_as_it_came() -> None:
    content = compose(note(ret="FULL", content=b"Subject: gr\xfc\xdfe\r\n\r\nhi\r\n"))
    assert third(content).get_content_type() == "text/rfc822-headers"
    assert b"Subject: gr\xfc\xdfe\r\n" in content


def test_without_the_original_there_is_no_third_part() -> None:
    assert len(list(read(compose(note(content=b""))).iter_parts())) == 2


def test_a_head_that_is_cut_ends_with_its_last_whole_field() -> None:
    assert head_of(MAIL[:-40]).block.endswith(b"Subject: hello\r\n")


@given(st.text(), st.text(), st.binary(max_size=300), st.booleans())
def test_nothing_that_a_stranger_gave_adds_a_field(
    said: str, given_orcpt: str, content: bytes, is_whole: bool
) -> None:
    content = content.replace(b"\r", b"").replace(b"\n", b"\r\n").replace(b"\0", b"")
    fate = replace(FAILED, reply=said, diagnostic=said, orcpt=f"rfc822;{given_orcpt}")
    written = compose(note(fate, content=content, is_whole=is_whole, ret="FULL"))
    known = {
        *("Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA"),
        *("Diagnostic-Code", "Last-Attempt-Date"),
    }
    status = written.partition(b"Content-Description: Delivery report\r\n")[2]
    block = status.partition(b"\r\n\r\n")[2].partition(b"\r\n--=_pk-2")[0]
    names = [f.name.decode() for f in scan(block.partition(b"\r\n\r\n")[2]).fields]
    assert set(names) <= {name.lower() for name in known}
    assert assess(compose(note(fate))).longest_line <= 998


@pytest.mark.parametrize(
    ("field", "is_one"),
    [
        ("Auto-Submitted: auto-replied (vacation)", True),
        ("Auto-Submitted: auto-generated", False),
        ("Content-Type: multipart/report; boundary=x; report-type=delivery-status", True),
        ("Content-Type: multipart/report; report-type=disposition-notification", False),
        ("Subject: hello", False),
    ],
)
def test_answers_and_reports_are_not_answered(field: str, is_one: bool) -> None:
    assert is_answer(scan(f"{field}\r\n\r\n".encode())) is is_one


def test_our_own_reader_understands_what_we_write() -> None:
    fate = replace(FAILED, orcpt="rfc822;Bob@there.test")
    found = read_bounce(compose(note(fate, envid="e1")))
    assert found is not None
    [recipient] = found.recipients
    assert found.kind is Kind.HARD
    assert recipient.address is not None
    assert recipient.address.lower() == "bob@there.test"
    assert (recipient.action, recipient.status) == ("failed", "5.1.1")
    assert recipient.reply_code == 550
    assert found.clues.envelope_id == "e1"
    assert "<first@acme.test>" in found.clues.message_ids


def test_our_own_reader_takes_a_delay_for_no_bounce() -> None:
    late = replace(FAILED, action=Action.DELAYED, status="4.2.0", code=450)
    found = read_bounce(compose(note(late)))
    assert found is not None
    assert found.kind is Kind.NONE


def test_our_own_reader_understands_international_reports() -> None:
    fate = replace(FAILED, address="用户@example.test")
    found = read_bounce(compose(note(fate, content=UTF8_HEAD)))
    assert found is not None
    [recipient] = found.recipients
    assert recipient.address == "用户@example.test"


def test_xtext_is_decoded_where_that_is_printable() -> None:
    assert decoded("a+2Bb+3Dc") == "a+b=c"
    assert decoded("a+0D+0AX: y") == "a+0D+0AX: y"
    assert typed_address("utf-8;\\x{7528}+2B@x.test") == ("utf-8", "用+@x.test")
    assert typed_address("utf-8;\\x{D800}\\x{110000}")[1] == "\\x{D800}\\x{110000}"
    assert in_ascii("utf-8;用@x.test") == "utf-8;\\x{7528}@x.test"


@pytest.mark.parametrize(
    ("wish", "ingress", "is_called", "is_told"),
    [
        (DsnWish.AUTO, Ingress.SMTP, False, True),
        (DsnWish.AUTO, Ingress.SMTP, True, False),
        (DsnWish.AUTO, Ingress.REST, False, False),
        (DsnWish.SMTP, Ingress.SMTP, True, True),
        (DsnWish.SMTP, Ingress.REST, False, False),
        (DsnWish.ALWAYS, Ingress.REST, True, True),
        (DsnWish.ALWAYS, Ingress.DSN, False, False),
        (DsnWish.NEVER, Ingress.SMTP, False, False),
    ],
)
def test_the_tenant_says_of_which_mail_its_senders_hear(
    wish: DsnWish, ingress: Ingress, is_called: bool, is_told: bool
) -> None:
    assert is_wanted(wish, ingress, is_called=is_called) is is_told


def test_without_notify_failures_and_delays_are_asked_for() -> None:
    assert set(asked(None)) == {"FAILURE", "DELAY"}
    assert set(asked("SUCCESS,DELAY")) == {"SUCCESS", "DELAY"}
    assert "FAILURE" not in asked("NEVER")
