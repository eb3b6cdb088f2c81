"""Real bounces of sixty kinds of mailer, and what each must be read as.

The collection and its licence are in tests/data/bounces. `expected.json` tells per recipient the
status, the reason and whether the address is dead for good.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from relay.formats.bounce.model import Kind, Returned
from relay.formats.bounce.read import read_bounce

CORPUS = Path(__file__).parents[1] / "data" / "bounces"
ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
NUMBER = re.compile(r"-\d+$")
REACH = {"recipients": 0.97, "class": 0.97, "reason": 0.85}

Expected = list[dict[str, str | bool]]


@dataclass(frozen=True, slots=True)
class Verdict:
    family: str
    recipients: bool
    status_class: bool
    reason: bool


@cache
def verdicts() -> tuple[Verdict, ...]:
    told: dict[str, Expected] = json.loads((CORPUS / "expected.json").read_text())
    return tuple(verdict(name, expected) for name, expected in sorted(told.items()))


def read(name: str) -> Returned:
    return read_bounce((CORPUS / f"{name}.eml").read_bytes())


def verdict(name: str, expected: Expected) -> Verdict:
    got = read(name).recipients
    pairs = list(zip(expected, got, strict=False))
    is_all = len(expected) == len(got)
    return Verdict(
        family=NUMBER.sub("", name),
        recipients=is_all and all(each["hard"] == (g.kind is Kind.HARD) for each, g in pairs),
        status_class=is_all
        and all(str(each["status"])[:1] == (g.status or "")[:1] for each, g in pairs),
        reason=is_all and all(each["reason"] == g.reason for each, g in pairs),
    )


def share(facts: list[bool]) -> float:
    return sum(facts) / len(facts)


def table() -> str:
    rows = [f"{'family':24}{'mails':>6}{'recipients':>12}{'class':>8}{'reason':>8}"]
    families = sorted({each.family for each in verdicts()})
    for family in (*families, ""):
        mine = [each for each in verdicts() if family in ("", each.family)]
        shares = (
            share([each.recipients for each in mine]),
            share([each.status_class for each in mine]),
            share([each.reason for each in mine]),
        )
        rows.append(
            f"{family or 'all':24}{len(mine):6}{shares[0]:12.1%}{shares[1]:8.1%}{shares[2]:8.1%}"
        )
    return "\n".join(rows)


def test_recipients_status_and_reason_are_read_as_they_should_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        print(f"\n{table()}")
    assert share([each.recipients for each in verdicts()]) >= REACH["recipients"]
    assert share([each.status_class for each in verdicts()]) >= REACH["class"]
    assert share([each.reason for each in verdicts()]) >= REACH["reason"]


def test_every_recipient_has_an_address() -> None:
    for path in sorted(CORPUS.glob("*.eml")):
        for recipient in read(path.stem).recipients:
            assert recipient.address, path.stem
            assert ADDRESS.fullmatch(recipient.address), (path.stem, recipient.address)


def test_feedback_reports_are_complaints_and_no_bounces() -> None:
    for path in sorted(CORPUS.glob("arf-*.eml")):
        returned = read(path.stem)
        assert (returned.kind, returned.reason) == (Kind.NONE, "feedback"), path.stem
        assert returned.recipients == ()
    assert read("arf-14").is_complaint
    assert read("arf-14").clues.complainants == ("kijitora@y.example.com",)
    assert not read("arf-19").is_complaint, "a report on authentication is no person's complaint"


def test_a_delay_is_no_bounce_whatever_its_reason() -> None:
    for name in ("lhost-gmail-06", "lhost-sendmail-55", "rfc3464-09", "lhost-exim-38"):
        returned = read(name)
        assert returned.kind is Kind.NONE, name
        assert returned.recipients[0].action == "delayed"


def test_the_ids_of_the_returned_mail_are_found_attached_or_in_the_text() -> None:
    attached, in_text = read("lhost-sendmail-01"), read("lhost-gmail-01")
    assert attached.clues.message_ids
    assert in_text.clues.message_ids == ("<D992C2C3-F175-4C4D-97E2-53A90E4E5BF5@gmail.com>",)
