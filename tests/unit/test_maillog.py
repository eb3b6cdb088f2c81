"""The log: what happened, in one line each, and never what it must not say."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest

from relay import maillog
from relay.model import Ingress, Verdict

PK = "0190c3a2-7c1e-7abc-8def-0123456789ab"


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    maillog.configure("text", "error", stream=io.StringIO())
    root.handlers[:] = handlers
    root.setLevel(level)


def log_to(
    format: Literal["text", "json"], level: Literal["info", "warning"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    maillog.configure(format, level, stream=stream)
    return stream


def log_an_attempt(reply: str = "2.0.0 Ok") -> None:
    maillog.attempt(
        PK,
        tenant="acme",
        account="main",
        n=1,
        verdict=Verdict.SENT,
        code=250,
        reply=reply,
        duration_s=0.01234,
    )


def test_a_line_of_text_is_key_value_with_the_id_first() -> None:
    stream = log_to("text")
    log_an_attempt()
    line = stream.getvalue()
    assert re.match(r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=attempt ", line)
    assert line.partition("event=attempt ")[2] == (
        f"id={PK} tenant=acme account=main n=1 verdict=sent code=250 "
        'reply="2.0.0 Ok" duration_s=0.0123\n'
    )


def test_a_line_of_json_is_one_object() -> None:
    stream = log_to("json")
    maillog.accepted(PK, tenant="acme", ingress=Ingress.SMTP, size_bytes=4096, recipients=2)
    line = json.loads(stream.getvalue())
    assert list(line)[:4] == ["ts", "level", "event", "id"]
    del line["ts"]
    assert line == {
        "level": "info",
        "event": "accepted",
        "id": PK,
        "tenant": "acme",
        "ingress": "smtp",
        "size_bytes": 4096,
        "recipients": 2,
    }


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    "evil", ["\n", "\r", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\udc80"]
)
def test_nobody_outside_can_forge_a_line(format: Literal["text", "json"], evil: str) -> None:
    stream = log_to(format)
    log_an_attempt(reply=f"ok{evil}ts=now level=info event=accepted")
    maillog.auth_failed(f"1.2.3.4{evil}", f'a"b{evil}')
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    if format == "json":
        assert json.loads(lines[0])["reply"].isprintable()


def test_quotes_cannot_end_a_value() -> None:
    stream = log_to("text")
    maillog.auth_failed("1.2.3.4", 'x" level=error y="')
    assert stream.getvalue().endswith(' user="x\\" level=error y=\\""\n')


@pytest.mark.parametrize("reply", ["x" * 5000, "\n" * 5000])
def test_long_values_are_cut(reply: str) -> None:
    stream = log_to("json")
    log_an_attempt(reply=reply)
    assert len(json.loads(stream.getvalue())["reply"]) == 1001


def test_what_is_unknown_is_left_out() -> None:
    stream = log_to("json")
    maillog.refused(tenant=None, ingress=Ingress.REST, peer="::1", reason="no", code=550)
    assert "tenant" not in json.loads(stream.getvalue())


def test_below_the_level_nothing_is_written() -> None:
    stream = log_to("text", "warning")
    log_an_attempt()
    assert stream.getvalue() == ""
    maillog.account_rests("acme", "main", wait_s=5, reason="connect: refused")
    assert "event=account_rests tenant=acme account=main wait_s=5" in stream.getvalue()


def test_every_event_writes_one_line_with_its_name() -> None:
    stream = log_to("text")
    maillog.requeued(PK, tenant="acme", recipients=1, wait_s=61.23)
    maillog.expired(PK, tenant="acme", recipients=1)
    maillog.account_recovered("acme", "main")
    maillog.started(version="1", instance="one", node="n1", database="sqlite")
    maillog.listening("smtp", "127.0.0.1:2525")
    maillog.recovered(3)
    maillog.stopping("SIGTERM")
    maillog.stopped()
    maillog.store_trouble(OSError("disk"))
    events = [re.search(r"event=(\w+)", line) for line in stream.getvalue().splitlines()]
    assert [event and event[1] for event in events] == [
        "requeued",
        "expired",
        "account_recovered",
        "started",
        "listening",
        "recovered",
        "stopping",
        "stopped",
        "store_trouble",
    ]


def fail(text: str) -> Exception:
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def test_the_unexpected_comes_with_its_traceback() -> None:
    stream = log_to("text")
    maillog.unexpected("dispatch", fail("boom\nts=now level=info event=accepted"))
    first, *rest = stream.getvalue().splitlines()
    assert "event=unexpected where=dispatch" in first
    assert rest[0].strip() == "Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    stream = log_to("json")
    maillog.unexpected("dispatch", fail("boom"))
    assert json.loads(stream.getvalue())["traceback"][-1] == "RuntimeError: boom"


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_database_password_in_an_error_is_not_logged(format: Literal["text", "json"]) -> None:
    stream = log_to(format)
    error = fail("could not connect to postgresql://relay:hunter2@db/mail")
    maillog.store_trouble(error)
    maillog.unexpected("store", error)
    assert "hunter2" not in stream.getvalue()
    assert "@db/mail" in stream.getvalue()


def test_warnings_of_libraries_come_out_as_lines_of_ours() -> None:
    stream = log_to("json")
    logging.getLogger("asyncio").warning("slow %s\n", "callback")
    logging.getLogger("mail.log").info("DATA readline: secret")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"], line["message"]) == (
        "library",
        "asyncio",
        "slow callback\\n",
    )


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_no_mail() -> None:
    maillog.configure("text", "info", stream=FullDisk())
    log_an_attempt()
    closed = io.StringIO()
    closed.close()
    maillog.configure("text", "info", stream=closed)
    log_an_attempt()


async def test_what_one_turn_of_the_loop_says_is_written_together_and_in_order() -> None:
    stream = Writes()
    maillog.configure("text", "info", stream=stream)
    maillog.listening("smtp", "one")
    maillog.listening("smtp", "two")
    assert stream.writes == []
    await asyncio.sleep(0)
    assert ["address=one" in text and "address=two" in text for text in stream.writes] == [True]


async def test_a_warning_is_written_at_once_behind_what_was_said_before() -> None:
    stream = Writes()
    maillog.configure("text", "info", stream=stream)
    maillog.listening("smtp", "one")
    maillog.auth_failed("127.0.0.1", "ann")
    (text,) = stream.writes
    assert text.index("address=one") < text.index("auth_failed")


class Writes(io.StringIO):
    """A stream that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        if text:
            self.writes.append(text)
        return len(text)
