"""What becomes of single rows of a genro-mail-proxy, and of answers to what was made of them."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from cli.client import Api
from cli.failure import Failure
from cli.genro.giver import Giver
from cli.genro.translation import (
    Untranslatable,
    account_of,
    message_of,
    tenant_of,
    unix_time,
)

NOW = 1_790_000_000.0
HASH = "0" * 64
MESSAGE = {"id": "m", "tenant_id": "acme", "account_id": "main", "priority": 1, "payload": "{}"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        (1_790_000_000, NOW),
        ("1790000000", NOW),
        ("2026-09-21 14:13:20", NOW),
        (datetime(2026, 9, 21, 14, 13, 20), NOW),  # noqa: DTZ001 # as asyncpg gives it
    ],
)
def test_a_time_is_read_as_each_engine_has_it(value: object, expected: float | None) -> None:
    assert unix_time(value) == expected


def test_a_time_that_is_none_is_told() -> None:
    with pytest.raises(Untranslatable, match="soon"):
        unix_time("soon")


def test_a_key_that_has_ended_is_not_brought() -> None:
    ended = tenant_of({"id": "acme", "api_key_hash": HASH, "api_key_expires_at": NOW - 1}, NOW)
    assert "api_key_hash" not in ended.body
    assert ended.remarks == ("its API key has ended, and is not brought",)
    lasting = tenant_of({"id": "acme", "api_key_hash": HASH, "api_key_expires_at": NOW + 1}, NOW)
    assert (lasting.body["api_key_hash"], lasting.body["api_key_expires_at"]) == (HASH, NOW + 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, ()), ("", ()), ("b,a", ("a", "b")), ("*", ("*",)), ("a,*", ("*",))],
)
def test_what_is_suspended_is_a_list_or_all(text: str | None, expected: tuple[str, ...]) -> None:
    assert tenant_of({"id": "acme", "suspended_batches": text}, NOW).suspends == expected


def test_an_account_of_a_version_without_imap_is_one_without() -> None:
    row = {"id": "main", "tenant_id": "acme", "host": "up.test", "port": 25, "use_tls": 0, "ttl": 0}
    assert account_of(row, None) == {
        "id": "main",
        "tenant_id": "acme",
        "host": "up.test",
        "port": 25,
        "use_tls": False,
        "is_pec_account": False,
    }


def test_what_a_row_says_of_a_message_goes_before_what_was_asked() -> None:
    payload = {"from_addr": "a@acme.test", "deferred_ts": 1, "priority": 3, "retry_count": 4}
    body = message_of({**MESSAGE, "payload": json.dumps(payload)}, {})
    assert (body["from"], body["priority"]) == ("a@acme.test", 1)
    assert body.keys().isdisjoint({"retry_count", "from_addr"})


def test_an_account_may_be_known_by_its_pk_only() -> None:
    row = {**MESSAGE, "account_id": None, "account_pk": "uuid"}
    assert message_of(row, {"uuid": "main"})["account_id"] == "main"


@pytest.mark.parametrize("payload", ["[]", "no json"])
def test_a_payload_that_is_no_object_is_told(payload: str) -> None:
    with pytest.raises(Untranslatable, match="payload"):
        message_of({**MESSAGE, "payload": payload}, {})


class Handler(BaseHTTPRequestHandler):
    """Refuses a whole call for a message `bad`, rejects `sent`, and fails at `fatal`."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ids = [each["id"] for each in body["messages"]]
        rejected = [{"id": each, "reason": "already sent"} for each in ids if each == "sent"]
        status, answer = 200, {"ok": True, "rejected": rejected}
        if "bad" in ids:
            status, answer = 422, {"detail": [{"loc": ["body"], "msg": "not this", "type": "x"}]}
        if "fatal" in ids:
            status, answer = 503, {"detail": "temporarily unavailable"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def giver() -> Iterator[Giver]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as http:
            yield Giver(Api(http))
        server.shutdown()


def given(giver: Giver, *ids: str) -> list[str | None]:
    return list(giver.messages([{"id": each, "tenant_id": "acme"} for each in ids]))


def test_what_one_message_is_refused_for_costs_no_other(giver: Giver) -> None:
    assert given(giver, "a", "sent") == [None, "already sent"]
    reasons = given(giver, "a", "bad", "sent")
    assert (reasons[0], reasons[2]) == (None, "already sent")
    assert "not this" in str(reasons[1])


def test_an_instance_that_fails_is_no_reason_to_skip(giver: Giver) -> None:
    with pytest.raises(Failure, match="unavailable"):
        given(giver, "a", "fatal")
