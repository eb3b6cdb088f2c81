"""What a report says, and what an answer to it means."""

import json

import pytest

from relay.reports.answer import Answer, Verdict, backoff_s, judge, receipt
from relay.reports.entries import entry, report
from relay.store.events import StoredEvent, place_of

NOW = 1_700_000_000.0
DAY_S = 86_400


def event(kind: str = "sent", **changes: object) -> StoredEvent:
    values: dict[str, object] = {
        "message_pk": "pk-1",
        "seq": 17,
        "tenant_id": "acme",
        "kind": kind,
        "at": NOW + 0.75,
        "data": {"recipient": "x@t.test", "account_id": "main", "code": 250, "reply": "2.0.0 Ok"},
        "id": "m1",
    }
    return StoredEvent(**{**values, **changes})  # type: ignore[arg-type]


ALWAYS = {
    "pk": "pk-1",
    "tenant_id": "acme",
    "event_id": "pk-1.17",
    "seq": 17,
    "recipient": "x@t.test",
    "metadata": None,
    "account_id": "main",
    "code": 250,
}


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("sent", {"id": "m1", "sent_ts": 1_700_000_000}),
        ("failed", {"id": "m1", "error_ts": 1_700_000_000, "error": "2.0.0 Ok"}),
        ("cancelled", {"id": "m1", "error_ts": 1_700_000_000, "error": "2.0.0 Ok"}),
        ("deferred", {"id": "m1", "deferred_ts": 1_700_000_000, "deferred_reason": "2.0.0 Ok"}),
    ],
)
def test_an_entry_begins_with_the_fields_that_clients_know(
    kind: str, first: dict[str, object]
) -> None:
    assert entry(event(kind)) == {**first, **ALWAYS}


def test_a_rejected_message_is_told_as_an_error_without_a_pk() -> None:
    told = entry(event("rejected", data={"id": "m1", "reply": "missing to"}))
    assert told is not None
    assert (told["id"], told["error"], told["pk"]) == ("m1", "missing to", None)
    assert (told["recipient"], told["account_id"], told["code"]) == (None, None, None)


def test_a_reason_is_never_empty() -> None:
    told = entry(event("failed", data={"reply": ""}))
    assert told is not None
    assert told["error"] == "failed"


def test_metadata_comes_back_and_a_possible_duplicate_is_named() -> None:
    told = entry(event(metadata='{"order": 7}', data={"possible_duplicate": True}))
    assert told is not None
    assert told["metadata"] == {"order": 7}
    assert told["possible_duplicate"] is True


def test_a_receipt_of_certified_mail_is_told_as_a_pec_event() -> None:
    why = "errore-consegna (no-dest): 5.1.1 indirizzo non valido"
    data = {"recipient": "x@t.test", "account_id": "main", "details": why, "receipt": 2}
    told = entry(event("pec_error", data={**data, "receipt_type": "errore-consegna"}))
    pec = {"id": "m1", "pec_event": "pec_error", "pec_ts": 1_700_000_000, "pec_details": why}
    by = {"receipt_type": "errore-consegna", "receipt": 2}
    assert told == {**pec, **by, **ALWAYS, "code": None}
    assert list(told)[:4] == ["id", "pec_event", "pec_ts", "pec_details"]


def test_a_missing_acceptance_is_told_without_a_receipt() -> None:
    told = entry(event("pec_timeout", data={"details": "no acceptance in 30 minutes"}))
    assert told is not None
    assert (told["pec_event"], told["pec_details"]) == (
        "pec_timeout",
        "no acceptance in 30 minutes",
    )
    assert "receipt" not in told


def test_a_bounce_says_of_what_kind_it_is_and_why() -> None:
    said = {"bounce_type": "hard", "bounce_code": "5.1.1", "bounce_reason": "550 no such user"}
    data = {"recipient": "x@t.test", "account_id": "main", "code": 250, **said, "reason": "word"}
    first = {"id": "m1", "bounce_ts": 1_700_000_000, **said}
    assert entry(event("bounced", data=data)) == {**first, **ALWAYS}


def test_a_suppressed_recipient_is_told_of_as_failed() -> None:
    told = entry(event("suppressed", data={"recipient": "x@t.test", "reply": "suppressed"}))
    assert told is not None
    assert (told["error_ts"], told["error"]) == (1_700_000_000, "suppressed")


def test_what_clients_are_not_told_of_is_no_entry() -> None:
    assert entry(event("suspended")) is None
    body, count = report([event("suspended")], 1000)
    assert (json.loads(body), count) == ({"delivery_report": []}, 1)


def test_a_report_is_cut_at_its_size_but_has_one_event_at_least() -> None:
    events = [event(seq=n) for n in range(10)]
    body, count = report(events, 600)
    assert 1 < count < 10
    assert len(body) <= 600 + 30
    assert [e["seq"] for e in json.loads(body)["delivery_report"]] == list(range(count))
    assert report(events, 1)[1] == 1
    assert report([], 1000) == (b'{"delivery_report":[]}', 0)


def test_an_event_id_leads_back_to_its_event() -> None:
    assert place_of(event().event_id) == event().place
    for text in ("", "17", ".17", "pk.", "pk.x", "pk.-1", "pk.²", "pk." + "9" * 19):
        assert place_of(text) is None


@pytest.mark.parametrize(
    "body", [b'{"ok": true}', b"{}", b"", b"OK", b"[1]", b"null", b"\xff", b"[" * 100_000]
)
def test_any_2xx_acknowledges(body: bytes) -> None:
    assert judge(Answer(204, body), NOW) == Verdict()


def test_ok_false_acknowledges_nothing() -> None:
    assert judge(Answer(200, b'{"ok": false, "queued": 3}'), NOW).fault


@pytest.mark.parametrize("status", [100, 301, 302, 400, 404, 410, 429, 500, 503])
def test_any_other_status_is_a_failure(status: int) -> None:
    assert judge(Answer(status, b'{"ok": true}'), NOW) == Verdict(fault=f"status {status}")


def test_ids_in_error_are_refused_and_those_not_found_are_not() -> None:
    verdict = judge(Answer(200, b'{"error": ["a", 7], "not_found": ["b"], "queued": 2}'), NOW)
    assert verdict == Verdict(refused=frozenset({"a", "7"}), not_found=1, is_queued=True)


@pytest.mark.parametrize(
    "field", ['"error": "m1"', '"error": {"m1": 1}', '"queued": true', '"queued": "9"']
)
def test_fields_of_another_shape_mean_nothing(field: str) -> None:
    assert judge(Answer(200, f"{{{field}}}".encode()), NOW) == Verdict()


@pytest.mark.parametrize(
    ("asked", "until"),
    [
        (NOW + 600, NOW + 600),
        (NOW - 1, 0),
        (NOW * 1000, NOW + 7 * DAY_S),
        ("NaN", 0),
        ("1e999", 0),
        ('"tomorrow"', 0),
        ("null", 0),
    ],
)
def test_a_client_may_ask_for_rest_but_is_not_forgotten(asked: object, until: float) -> None:
    body = f'{{"next_sync_after": {asked}}}'.encode()
    assert judge(Answer(200, body), NOW).quiet_until == until


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("120", 120),
        ("99999999999999999999", 3600),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after_is_honoured_within_reason(text: str, wait_s: float) -> None:
    assert judge(Answer(429, retry_after=text), NOW).wait_s == wait_s


def test_what_is_refused_is_held_and_given_up_only_when_it_was_refused_for_long() -> None:
    taken, held = event(seq=1, id="a"), event(seq=2, id="b")
    old = event(seq=3, id="c", refused_at=NOW - 3 * DAY_S)
    young = event(seq=4, id="c", refused_at=NOW - 2 * DAY_S)
    events = [taken, held, old, young]
    result = receipt(events, frozenset({"b", "c"}), NOW, 3 * DAY_S)
    assert result.done == (taken.place,)
    assert result.held == (held.place, young.place)
    assert result.parked == (old.place,)


def test_the_wait_grows_and_then_stays() -> None:
    waits = [backoff_s((5, 30, 120), failures, 0) for failures in (1, 2, 3, 4, 1000)]
    assert waits == [5, 30, 120, 120, 120]
    assert backoff_s((100,), 1, -1) == 80
    assert backoff_s((100,), 1, 1) == 120
