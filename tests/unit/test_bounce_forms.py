"""Every form of bounce with every reply in it: a second corpus, of no collection."""

import pytest

from relay.formats.bounce.model import Kind, ReturnedRecipient
from relay.formats.bounce.read import read_bounce
from tests.fakes.bounce_forms import RECIPIENT, Said, filled, forms, replies, tells_command

REACH = {"recipients": 0.97, "class": 0.97, "reason": 0.95}
HARD = frozenset({"userunknown", "hostunknown", "hasmoved", "notaccept"})
EVERY = 6
"Each form is tried with every sixth reply, one with all: seventeen thousand mails take long."
FORMS = forms()
REPLIES = tuple(replies())


def read(form: str, said: Said) -> tuple[ReturnedRecipient, ...]:
    return read_bounce(filled(form, said)).recipients


def has_reason(form: str, said: Said, got: ReturnedRecipient) -> bool:
    """A form that hides the command leaves open whether the user is unknown or filters."""
    hidden = said.reason == "userunknown" and not tells_command(form)
    return got.reason == said.reason or (hidden and got.reason == "filtered")


def share(facts: list[bool]) -> float:
    return sum(facts) / len(facts)


@pytest.mark.parametrize("name", FORMS)
def test_the_recipient_the_status_and_the_reason_are_found_in_every_form(name: str) -> None:
    form = FORMS[name]
    some = (
        REPLIES if name == "postfix-notice" else REPLIES[sorted(FORMS).index(name) % EVERY :: EVERY]
    )
    got = [(said, read(form, said)) for said in some]
    single = [(said, each[0]) for said, each in got if [a.address for a in each] == [RECIPIENT]]
    assert len(single) / len(some) >= REACH["recipients"]
    assert (
        share([(each.status or "")[:1] == said.status_class for said, each in single])
        >= REACH["class"]
    )
    assert share([has_reason(form, said, each) for said, each in single]) >= REACH["reason"]


def test_only_an_address_that_will_never_work_is_hard() -> None:
    wrong = [
        (said.reply, each.kind)
        for said in REPLIES
        for each in read(FORMS["postfix"], said)
        if (each.kind is Kind.HARD) != (said.reason in HARD)
    ]
    assert len(wrong) / len(REPLIES) < 0.01, wrong


def test_every_reply_belongs_to_a_reason_that_some_reply_has() -> None:
    assert len({said.reason for said in REPLIES}) >= 25
