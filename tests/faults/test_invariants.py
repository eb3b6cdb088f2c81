"""The harness can fail: each invariant is broken in books made by hand, and is found."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.invariants import Bounds, Times, Violation, violations
from tests.faults.ledgers import (
    FIELD,
    Books,
    ClientLedger,
    Face,
    Given,
    Got,
    Health,
    Overheard,
    Refusal,
    Reply,
    Shown,
    SinkLedger,
    begun,
    sha,
)

BODY = b"canaryacme\r\nhello\r\n"
MAIL = f"{FIELD}: t1\r\nSubject: x\r\n\r\n".encode() + BODY
CANARIES = {"acme": "canaryacme", "rival": "canaryrival"}
IN_TIME = Times(0.5, 1.0)

GIVEN = replace(begun("t1", "acme", Face.SMTP, MAIL), reply=Reply.ACCEPTED, code=250)
GOT = Got("t1", "acme", "t1@sink.test", sha(MAIL), sha(BODY), (), 1.0)
SHOWN = Shown("t1", "acme", "pk1", "sent")
GOOD = Books(
    given=[GIVEN],
    refusals=[],
    got=[GOT],
    shown=[SHOWN],
    health=[Health(0, 1.0, 0.01, 90 << 20, 40)],
    overheard=[
        Overheard("GET /messages", "acme", "canaryacme"),
        Overheard("log", None, "accepted id=pk1"),
    ],
    canaries=tuple(CANARIES.items()),
    planted=(("the admin token", "s3cret"),),
)


def found(books: Books, times: Times = IN_TIME) -> list[str]:
    return [violation.invariant for violation in violations(books, Bounds(), times)]


def test_good_books_are_without_fault() -> None:
    assert found(GOOD) == []


def test_mail_that_came_as_it_was_given_is_recognised_behind_what_the_relay_put_in_front() -> None:
    ledger = SinkLedger("acme", CANARIES)
    ledger.enter(b"Received: from x\r\n by y\r\nX-Pillarbox-ID: 1\r\n" + MAIL, ["t1@sink.test"], 1)
    assert ledger.mails == [GOT]


def test_a_word_of_another_tenant_in_a_mail_is_noticed() -> None:
    ledger = SinkLedger("rival", CANARIES)
    ledger.enter(MAIL, ["t1@sink.test"], 1.0)
    assert ledger.mails[0].strangers == ("acme",)


def test_what_clients_are_told_is_written_down() -> None:
    ledger = ClientLedger()
    for token in ("t1", "t2", "t3"):
        ledger.begin(begun(token, "acme", Face.SMTP, MAIL))
    ledger.accepted("t1", 250)
    ledger.refused(Refusal(Face.SMTP, 451, "later", "t2"))
    assert ledger.tokens(Reply.ACCEPTED) == {"t1"}
    assert ledger.tokens(Reply.REFUSED) == {"t2"}
    assert ledger.tokens(Reply.NOTHING) == {"t3"}
    assert ledger.taken_since(GIVEN.begun_at, 0)
    assert not ledger.taken_since(GIVEN.begun_at, 1)


ACCEPTABLE = {
    "it still waits": replace(GOOD, got=[], shown=[replace(SHOWN, status="deferred")]),
    "it failed, and an event tells of it": replace(
        GOOD, got=[], shown=[replace(SHOWN, status="failed", has_event=True)]
    ),
    "the client in doubt, and the mail sent": replace(
        GOOD, given=[replace(GIVEN, reply=Reply.NOTHING)]
    ),
    "the client in doubt, and no mail": replace(
        GOOD, given=[replace(GIVEN, reply=Reply.NOTHING)], got=[], shown=[]
    ),
    "two copies, one in doubt and flagged": replace(
        GOOD, got=[GOT, GOT], shown=[replace(SHOWN, unknown=1, is_flagged=True)]
    ),
    "refused for now": replace(
        GOOD, refusals=[Refusal(Face.SMTP, 452, "later"), Refusal(Face.REST, 507, "later")]
    ),
}


@pytest.mark.parametrize("books", ACCEPTABLE.values(), ids=ACCEPTABLE.keys())
def test_what_is_no_fault_is_not_called_one(books: Books) -> None:
    assert found(books) == []


def wrong_books() -> Iterator[tuple[str, str, Books]]:
    """Yield what is wrong, what it violates, and the books."""
    by_rest: Given = replace(GIVEN, face=Face.REST, digest=sha(BODY))
    yield "accepted and gone", "I1", replace(GOOD, got=[], shown=[])
    yield "sent by its own word only", "I1", replace(GOOD, got=[])
    yield "sent, and not shown", "I1", replace(GOOD, shown=[])
    yield "failed without a word", "I1", replace(GOOD, got=[], shown=[_shown(status="failed")])
    yield "given by nobody", "I2", replace(GOOD, given=[], canaries=())
    yield (
        "stored and given by nobody",
        "I2",
        replace(GOOD, shown=[SHOWN, replace(SHOWN, token="t9", status="queued")]),
    )
    yield "refused and sent", "I2", replace(GOOD, given=[replace(GIVEN, reply=Reply.REFUSED)])
    yield "other bytes by SMTP", "I2", replace(GOOD, got=[replace(GOT, whole=sha(b"x"))])
    yield (
        "other bytes by REST",
        "I2",
        replace(GOOD, given=[by_rest], got=[replace(GOT, body=sha(b"x"))]),
    )
    yield "twice without doubt", "I3", replace(GOOD, got=[GOT, GOT], shown=[_shown(unknown=0)])
    yield (
        "thrice with one in doubt",
        "I3",
        replace(GOOD, got=[GOT] * 3, shown=[_shown(unknown=1, is_flagged=True)]),
    )
    yield "twice and not flagged", "I3", replace(GOOD, got=[GOT, GOT], shown=[_shown(unknown=1)])
    yield "stored twice", "I3", replace(GOOD, shown=[SHOWN, replace(SHOWN, pk="pk2")])
    yield (
        "sent by another's upstream",
        "I4",
        replace(GOOD, got=[GOT, replace(GOT, tenant_id="rival", recipient="x@y.test")]),
    )
    yield "another's word in it", "I4", replace(GOOD, got=[replace(GOT, strangers=("rival",))])
    yield "listed for another", "I4", replace(GOOD, shown=[_shown(tenant_id="rival")])
    yield "another's word in a reply", "I4", _overheard("rival", "subject: canaryacme")
    yield "refused for good", "I6", replace(GOOD, refusals=[Refusal(Face.SMTP, 550, "no")])
    yield "a fault of ours", "I6", replace(GOOD, refusals=[Refusal(Face.REST, 500, "oops")])
    yield "memory", "I7", _health(rss_bytes=900 << 20)
    yield "descriptors", "I7", _health(descriptors=2000)
    yield "latency", "I7", _health(latency_s=9.0)
    yield "a secret in a reply", "I8", _overheard("acme", "token s3cret")
    yield "a secret in the log", "I8", _overheard(None, "token s3cret")
    yield "content in the log", "I8", _overheard(None, "subject canaryrival")


def _shown(**changes: object) -> Shown:
    return replace(SHOWN, **changes)  # type: ignore[arg-type] # fields of Shown


def _overheard(tenant_id: str | None, text: str) -> Books:
    return replace(GOOD, overheard=[Overheard("there", tenant_id, text)])


def _health(**changes: object) -> Books:
    return replace(GOOD, health=[replace(GOOD.health[0], **changes)])  # type: ignore[arg-type] # fields of Health


@pytest.mark.parametrize(
    ("invariant", "books"), [pytest.param(i, b, id=what) for what, i, b in wrong_books()]
)
def test_each_violation_is_found(invariant: str, books: Books) -> None:
    assert invariant in found(books)


@pytest.mark.parametrize("times", [Times(None, 1), Times(99, 1), Times(1, None), Times(1, 999)])
def test_a_recovery_that_takes_too_long_is_found(times: Times) -> None:
    assert found(GOOD, times) == ["I5"]


def test_a_violation_says_what_is_wrong() -> None:
    [violation] = violations(replace(GOOD, got=[], shown=[]), Bounds(), IN_TIME)
    assert violation == Violation("I1", "t1", "accepted by smtp, and neither sent nor kept")
    assert str(violation) == "I1 t1: accepted by smtp, and neither sent nor kept"
