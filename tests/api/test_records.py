"""What a record says follows from the recipients of its message."""

import pytest

from admin_api.records import record, status_of
from relay.model import State
from relay.store.messages import MessageView, RecipientView

S = State


def recipient(state: State, *, attempts: int = 0, final_at: float | None = None) -> RecipientView:
    return RecipientView(
        n=0,
        address="x@there.test",
        state=state,
        attempts=attempts,
        unknowns=0,
        code=550 if state is S.FAILED else None,
        reply="no such user" if state is S.FAILED else None,
        account_id=None,
        due_at=900.5,
        tried_at=final_at,
        final_at=final_at,
    )


def view(*recipients: RecipientView) -> MessageView:
    return MessageView(
        pk="pk",
        id="m1",
        tenant_id="acme",
        account_id=None,
        priority=2,
        sender="a@acme.test",
        batch_code=None,
        metadata=None,
        record='{"subject":"s"}',
        message_id=None,
        ingress="rest",
        is_pec=False,
        size_bytes=1,
        deferred_ts=900.5,
        expires_at=None,
        accepted_at=1.0,
        updated_at=2.0,
        final_at=None,
        recipients=recipients,
    )


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([S.QUEUED, S.SENT], "queued"),
        ([S.SENDING, S.QUEUED, S.FAILED], "sending"),
        ([S.DEFERRED, S.SUSPENDED], "scheduled"),
        ([S.SUSPENDED, S.SENT], "suspended"),
        ([S.SENT, S.SENT], "sent"),
        ([S.SENT, S.BOUNCED], "sent"),
        ([S.SENT, S.FAILED], "partial"),
        ([S.SENT, S.CANCELLED], "partial"),
        ([S.FAILED, S.CANCELLED], "failed"),
        ([S.CANCELLED], "cancelled"),
    ],
)
def test_status_names_what_still_moves_before_what_has_ended(
    states: list[State], status: str
) -> None:
    assert status_of([recipient(state) for state in states]) == status


def test_a_mail_that_waits_for_another_attempt_is_deferred_not_scheduled() -> None:
    assert status_of([recipient(S.DEFERRED, attempts=1)]) == "deferred"


def test_sent_is_told_when_nothing_is_pending() -> None:
    sent = recipient(S.SENT, final_at=5.9)
    assert record(view(sent, recipient(S.QUEUED)), None, None).sent_ts is None
    whole = record(view(sent, recipient(S.FAILED, final_at=7.0)), None, None)
    assert (whole.sent_ts, whole.smtp_ts, whole.error_ts, whole.error) == (5, 7, None, None)


def test_an_error_is_told_when_nobody_got_it() -> None:
    failed = recipient(S.FAILED, final_at=7.0)
    lost = record(view(failed, recipient(S.CANCELLED, final_at=8.0)), None, None)
    assert (lost.sent_ts, lost.error_ts, lost.error) == (None, 7, "no such user")
    assert record(view(failed, recipient(S.QUEUED)), None, None).error_ts is None


def test_deferred_ts_is_when_it_is_tried_next() -> None:
    waiting = record(view(recipient(S.DEFERRED, attempts=1), recipient(S.SENT)), None, None)
    assert waiting.deferred_ts == 900
    assert waiting.recipients[0].next_attempt_ts == 900


def test_a_suspended_message_has_no_deferred_ts() -> None:
    assert record(view(recipient(S.SUSPENDED)), None, None).deferred_ts is None
