"""A message of JSON becomes a submission, without any server."""

import pytest

from admin_api.drafts import Desk, submission_of
from relay.errors import Refused
from relay.ingress.submission import Origin
from relay.model import Ingress, Priority
from tests.api.serving import Message

DESK = Desk("relay.test", 1000, 1_000_000.0, Origin("HTTP"))


def test_a_message_is_written_as_a_mail(message: Message) -> None:
    submission = submission_of(message(subject="Grüße", cc="y@there.test"), DESK)
    assert submission.ingress is Ingress.REST
    assert (submission.tenant_id, submission.id) == ("acme", "m1")
    assert submission.sender == "a@acme.test"
    assert [r.n for r in submission.recipients] == [0, 1]
    assert submission.priority is None
    head, _, body = submission.content.partition(b"\r\n\r\n")
    assert b"Date: Mon, 12 Jan 1970" in head
    assert b"Cc: y@there.test" in head
    assert body == b"Hi there\r\n"


def test_two_messages_have_two_message_ids(message: Message) -> None:
    def head(message_id: str) -> bytes:
        content = submission_of(message(id=message_id), DESK).content
        return next(line for line in content.splitlines() if line.startswith(b"Message-ID: "))

    assert head("m1") != head("m2")
    assert head("m1").endswith(b"@relay.test>")


def test_the_keys_tenant_stands_in_for_a_missing_one(message: Message) -> None:
    desk = Desk("relay.test", 10, 1.0, Origin("HTTP"), "acme", Priority.LOW)
    submission = submission_of(message(tenant_id=None), desk)
    assert (submission.tenant_id, submission.priority) == ("acme", Priority.LOW)


def test_a_null_return_path_is_the_null_sender(message: Message) -> None:
    assert submission_of(message(return_path="<>"), DESK).sender == ""


def test_bodies_named_so_go_before_body(message: Message) -> None:
    submission = submission_of(message(body="one", text="two"), DESK)
    assert b"two" in submission.content
    assert b"one" not in submission.content


def test_a_refusal_names_the_field(message: Message) -> None:
    with pytest.raises(Refused, match=r"^cc: "):
        submission_of(message(cc="x@there.test, nobody"), DESK)
    with pytest.raises(Refused, match=r"^deferred_ts: "):
        submission_of(message(deferred_ts=-1), DESK)
