"""An upstream misbehaves over a mail: what is known of each recipient, what its client is told, how
often the upstream is offered the mail, and that it arrives once when the fault is over.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.faults.mail_cases import MAIL_CASES, Known, MailCase
from tests.faults.outside import WAIT_S, Json, Outside, outside, transactions

LONGEST_REPLY = 1000
WHEN = {"sent": "sent_ts", "failed": "error_ts", "deferred": "deferred_ts"}

on_engines = [
    pytest.param(case, engine, id=f"{case.name}-{engine}")
    for case in MAIL_CASES
    for engine in (("sqlite", "postgres") if case.on_both_engines else ("sqlite",))
]


@pytest.fixture
async def relay(case: MailCase, database_url: str, tmp_path: Path) -> AsyncIterator[Outside]:
    async with outside(tmp_path / "home", database_url, case.settings) as relay:
        yield relay


@pytest.mark.parametrize(("case", "database_url"), on_engines, indirect=["database_url"])
async def test_a_fault_over_a_mail_is_known_told_and_overcome(
    case: MailCase, relay: Outside
) -> None:
    async with FakeUpstream(on=case.on, **case.upstream) as upstream:  # type: ignore[arg-type] # the table names its arguments
        await relay.account(upstream.port, **case.account)
        await relay.give(case.way, "m1", [known.address for known in case.known], case.text)
        tried = await relay.tried("m1")
        assert transactions(upstream) == min(case.offered, 1)
        check_record(case.known, tried)
        ended = await relay.ends("m1")
        await check_reports(relay, case.known, ended)
        check_end(case, upstream, ended)
        if case.is_followed:
            await check_next(relay, upstream)


def check_record(known: Sequence[Known], record: Json) -> None:
    """The recipients, the first attempt and the next one's time, as REST shows them."""
    [attempt] = record["attempts"]
    assert [r["status"] for r in record["recipients"]] == [k.state for k in known]
    for expected, recipient, outcome in zip(
        known, record["recipients"], attempt["outcomes"], strict=True
    ):
        said = (outcome["verdict"], outcome["phase"], outcome["code"])
        assert said == (expected.verdict, expected.phase, expected.code), outcome
        assert expected.reply in recipient["reply"]
        assert recipient["reply"].isprintable()
        assert len(recipient["reply"]) <= LONGEST_REPLY
        assert recipient["attempts"] == 1
        waits = recipient["next_attempt_ts"]
        assert (waits is not None) == (expected.state == "deferred")
    events = [e for e in record["events"] if e["event"] != "accepted"]
    assert [e["event"] for e in events] == [k.state for k in known]
    for event in events:
        if event["event"] == "deferred":
            assert event["data"]["next_attempt_ts"] >= attempt["ended_at"] + WAIT_S - 0.001


async def check_reports(relay: Outside, known: Sequence[Known], ended: Json) -> None:
    """Each recipient's reports: its first, those of its waits, and the last."""
    for expected, recipient in zip(known, ended["recipients"], strict=True):
        waits = recipient["attempts"] - 1
        states = ["deferred"] * waits + [recipient["status"]]
        entries = await relay.told("m1", expected.address, len(states))
        assert [WHEN[state] in entry for state, entry in zip(states, entries, strict=True)]
        assert entries[0]["code"] == (expected.code or None)
        assert [entry.get("possible_duplicate", False) for entry in entries] == [
            expected.doubt
        ] * len(states)


def check_end(case: MailCase, upstream: FakeUpstream, ended: Json) -> None:
    """Nobody is asked more often than needed, nobody gets it twice, and nobody is hammered."""
    assert transactions(upstream) == case.offered
    taken = sorted(address for mail in upstream.received for address in mail.recipients)
    wanted = [known.address for known in case.known if known.state != "failed"]
    assert taken == sorted(wanted)
    assert all(case.finds in mail.content for mail in upstream.received)
    assert all(mail.tls == upstream.starttls for mail in upstream.received)
    states = {r["address"]: r["status"] for r in ended["recipients"]}
    assert states == {k.address: "failed" if k.state == "failed" else "sent" for k in case.known}
    began = [attempt["started_at"] for attempt in ended["attempts"]]
    over = [attempt["ended_at"] for attempt in ended["attempts"]]
    waits = [begin - end for end, begin in zip(over, began[1:], strict=False)]
    assert all(wait_s >= WAIT_S - 0.001 for wait_s in waits)


async def check_next(relay: Outside, upstream: FakeUpstream) -> None:
    """The next mail to the same host is delivered at once, by a connection without a past."""
    if upstream.idle_close_s:
        await upstream.wait_until_closed()
    await relay.give("rest", "m2", ["next@there.test"])
    ended = await relay.ends("m2")
    [recipient] = ended["recipients"]
    assert (recipient["status"], recipient["attempts"]) == ("sent", 1)
    assert upstream.received[-1].recipients == ("next@there.test",)
    assert upstream.received[-1].connection > 1
