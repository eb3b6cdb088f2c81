"""Transactions against an upstream that misbehaves, pipelined and in lockstep."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
import uvloop

from relay.dispatch.commands import Extensions, Offer, envelope_commands
from relay.dispatch.session import Session, Timeouts
from relay.model import Outcome, Pending
from tests.fakes.upstream import (
    DROP,
    EXTENSIONS,
    HANG,
    LOCKSTEP,
    RESET,
    FakeUpstream,
    Moment,
    Raw,
    Slowly,
)

CONTENT = b"Subject: hello\r\n\r\n.a dot\r\nand a line\r\n"
PATIENT = Timeouts(command_s=10, data_s=10, min_rate_bytes_s=1_000_000)
HASTY = Timeouts(
    command_s=0.2, data_s=0.2, min_rate_bytes_s=1_000_000_000, rcpt_s=0, data_start_s=0
)


@pytest.fixture(params=["pipelined", "lockstep"])
def extensions(request: pytest.FixtureRequest) -> Sequence[str]:
    return EXTENSIONS if request.param == "pipelined" else LOCKSTEP


@asynccontextmanager
async def opened(port: int, timeouts: Timeouts = PATIENT) -> AsyncIterator[Session]:
    """Connect, say EHLO and hand the transport over, as the pool does it by means of aiosmtplib."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO relay.test\r\n")
    offered = [await reader.readline()]
    while offered[-1][3:4] == b"-":
        offered.append(await reader.readline())
    words = {line[4:].split()[0].decode() for line in offered}
    extensions = Extensions(
        size=0 if "SIZE" in words else None,
        eight_bit="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        dsn="DSN" in words,
        pipelining="PIPELINING" in words,
    )
    session = Session(cast(asyncio.Transport, writer.transport), extensions, timeouts)
    try:
        yield session
    finally:
        await session.quit()


@asynccontextmanager
async def talk(
    timeouts: Timeouts = PATIENT, **told: Any
) -> AsyncIterator[tuple[FakeUpstream, Session]]:
    async with FakeUpstream(**told) as upstream, opened(upstream.port, timeouts) as session:
        yield upstream, session


def mail_to(*addresses: str, content: bytes = CONTENT, **changes: Any) -> Offer:
    recipients = tuple(Pending(n, address) for n, address in enumerate(addresses))
    return Offer("alice@a.test", recipients, content, **changes)


async def nothing() -> None: ...


async def offered(session: Session, mail: Offer) -> list[tuple[str, int, str]]:
    return told(await session.offer(mail, nothing))


def told(outcomes: list[Outcome]) -> list[tuple[str, int, str]]:
    return [(outcome.verdict.value, outcome.code, outcome.phase) for outcome in outcomes]


SENT = ("sent", 250, "dot")


async def test_a_mail_arrives_byte_for_byte(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions) as (upstream, session):
        assert await offered(session, mail_to("bob@b.test", "eve@b.test")) == [SENT, SENT]
        [mail] = upstream.received
        assert mail.content == CONTENT
        assert mail.sender == "alice@a.test"
        assert mail.recipients == ("bob@b.test", "eve@b.test")
        assert session.reusable


async def test_many_mails_go_over_one_connection(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions) as (upstream, session):
        for n in range(20):
            assert await offered(session, mail_to(f"{n}@b.test")) == [SENT]
        assert [mail.recipients[0] for mail in upstream.received] == [
            f"{n}@b.test" for n in range(20)
        ]
        assert upstream.connections == 1
        assert session.mails == 20


@pytest.mark.parametrize("content", [b"", b".", b"\r\n.\r\n", b".\r\n..\r\n.", b"a\r\n\r\n..x"])
async def test_no_content_ends_the_mail_early(content: bytes) -> None:
    async with talk() as (upstream, session):
        assert await offered(session, mail_to("bob@b.test", content=content)) == [SENT]
        await offered(session, mail_to("eve@b.test"))
        ended = content if content.endswith(b"\r\n") else content + b"\r\n"
        assert [mail.content for mail in upstream.received] == [ended, CONTENT]


async def test_the_null_sender_and_what_is_offered_are_said() -> None:
    async with talk() as (upstream, session):
        recipient = Pending(0, "bob@b.test", notify="SUCCESS,FAILURE", orcpt="rfc822;bob@b.test")
        mail = Offer(
            "", (recipient,), CONTENT, body_8bit=True, smtputf8=True, ret="HDRS", envid="x1"
        )
        await session.offer(mail, nothing)
        [received] = upstream.received
        assert received.sender == ""
        assert received.mail_parameters == (
            f"SIZE={len(CONTENT)} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x1"
        )
        assert received.rcpt_parameters == ("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@b.test",)


async def test_what_is_not_offered_is_not_said() -> None:
    async with talk(extensions=()) as (upstream, session):
        assert session.extensions == Extensions()
        recipient = Pending(0, "bob@b.test", notify="NEVER", orcpt="rfc822;bob@b.test")
        mail = Offer("a@a.test", (recipient,), CONTENT, body_8bit=True, smtputf8=True, ret="FULL")
        await session.offer(mail, nothing)
        assert upstream.received[0].mail_parameters == ""
        assert upstream.received[0].rcpt_parameters == ("",)


@pytest.mark.parametrize(
    "address",
    [
        "a@b.test>\r\nRCPT TO:<z@z.test",
        "a\r@b.test",
        "a\0@b.test",
        "a b@c.test",
        "<a@b.test>",
        'a"b@c.test',
        '"a\n"@b.test',
        "",
        "jürgen@b.test",
    ],
)
async def test_an_address_that_could_end_the_command_is_never_written(address: str) -> None:
    async with talk() as (upstream, session):
        before = len(upstream.commands)
        with pytest.raises(ValueError, match=r"fit|encode"):
            await session.offer(mail_to("bob@b.test", address), nothing)
        assert await session.reset(1)
        assert upstream.commands[before:] == ["RSET"]


def test_quoted_and_international_addresses_are_fit() -> None:
    offered_all = Extensions(smtputf8=True)
    mail = mail_to('"a <b> c"@b.test', "jürgen@b.test", smtputf8=True)
    assert envelope_commands(mail, offered_all)[1:] == [
        b'RCPT TO:<"a <b> c"@b.test>\r\n',
        "RCPT TO:<jürgen@b.test>\r\n".encode(),
    ]


# Refusals of some and of all


async def test_each_recipient_gets_its_own_answer(extensions: Sequence[str]) -> None:
    rules = {"no@b.test": "550 5.1.1 who?", "later@b.test": "450 4.7.1 greylisted"}
    async with talk(extensions=extensions, on={"RCPT": rules}) as (upstream, session):
        outcomes = await session.offer(mail_to("no@b.test", "bob@b.test", "later@b.test"), nothing)
        assert told(outcomes) == [("failed", 550, "rcpt"), SENT, ("deferred", 450, "rcpt")]
        assert [outcome.enhanced for outcome in outcomes] == ["5.1.1", "2.0.0", "4.7.1"]
        assert session.reusable
        assert not session.needs_reset
        assert upstream.received[0].recipients == ("bob@b.test",)


async def test_a_refused_data_leaves_the_refused_refused(extensions: Sequence[str]) -> None:
    rules = {"RCPT": {"no@b.test": "550 who?"}, "DATA": "451 4.3.0 later"}
    async with talk(extensions=extensions, on=rules) as (upstream, session):
        assert await offered(session, mail_to("no@b.test", "bob@b.test")) == [
            ("failed", 550, "rcpt"),
            ("deferred", 451, "data"),
        ]
        assert session.needs_reset
        upstream.on.clear()
        assert await offered(session, mail_to("bob@b.test")) == [SENT]


@pytest.mark.parametrize(
    ("reply", "meaning"), [("554 5.7.1 spam", "failed"), ("451 x", "deferred")]
)
async def test_the_answer_to_the_dot_is_for_all(
    extensions: Sequence[str], reply: str, meaning: str
) -> None:
    async with talk(extensions=extensions, on={"DOT": [reply]}) as (upstream, session):
        code = int(reply[:3])
        assert (
            await offered(session, mail_to("a@b.test", "b@b.test")) == [(meaning, code, "dot")] * 2
        )
        assert await offered(session, mail_to("a@b.test")) == [SENT]
        assert upstream.connections == 1


async def test_a_refused_sender_is_the_answer_for_all(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions, on={"MAIL": ["550 5.7.1 no"]}) as (_upstream, session):
        assert (
            await offered(session, mail_to("a@b.test", "b@b.test")) == [("failed", 550, "mail")] * 2
        )
        assert await offered(session, mail_to("a@b.test")) == [SENT]


async def test_a_reset_that_hangs_does_not_change_what_was_said(
    extensions: Sequence[str],
) -> None:
    rules = {"RCPT": ["550 5.1.1 who?"], "RSET": HANG}
    async with talk(extensions=extensions, on=rules, timeouts=HASTY) as (_upstream, session):
        assert await offered(session, mail_to("no@b.test")) == [("failed", 550, "rcpt")]
        assert session.needs_reset
        assert not await session.reset(0.1)
        assert not session.reusable


async def test_a_mail_that_nobody_is_left_for_is_an_empty_one() -> None:
    rules = {"RCPT": "550 who?", "DATA": "354 go on all the same"}
    async with talk(on=rules) as (upstream, session):
        assert await offered(session, mail_to("no@b.test")) == [("failed", 550, "rcpt")]
        assert not session.reusable
        [mail] = await upstream.wait_for(1)
        assert mail.content == b""


async def test_too_many_recipients_is_an_answer_of_its_own(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions, recipients_per_mail=2) as (_upstream, session):
        outcomes = await offered(session, mail_to("a@b.test", "b@b.test", "c@b.test"))
        assert outcomes == [SENT, SENT, ("deferred", 452, "rcpt")]
        assert session.reusable


# Losses


@pytest.mark.parametrize("end", [DROP, RESET], ids=repr)
async def test_a_loss_after_the_dot_is_unknown_but_for_the_refused(
    extensions: Sequence[str], end: Any
) -> None:
    rules = {"RCPT": {"no@b.test": "550 who?"}, "DOT": end}
    async with talk(extensions=extensions, on=rules) as (_upstream, session):
        assert await offered(session, mail_to("bob@b.test", "no@b.test")) == [
            ("unknown", 0, "dot"),
            ("failed", 550, "rcpt"),
        ]
        assert not session.reusable


async def test_no_answer_to_the_dot_in_time_is_unknown() -> None:
    async with talk(hang_at="dot", timeouts=HASTY) as (_upstream, session):
        assert await offered(session, mail_to("bob@b.test")) == [("unknown", 0, "dot")]
        assert not session.reusable


async def test_nonsense_after_the_dot_is_unknown() -> None:
    async with (
        FakeUpstream(on={"DOT": Raw(b"yes!\r\n")}) as upstream,
        opened(upstream.port) as session,
    ):
        assert await offered(session, mail_to("bob@b.test")) == [("unknown", 0, "dot")]


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
async def test_a_loss_before_the_dot_is_deferred(extensions: Sequence[str], moment: str) -> None:
    async with talk(extensions=extensions, drop_at=moment) as (_upstream, session):
        [(meaning, code, phase)] = await offered(session, mail_to("bob@b.test"))
        assert (meaning, code) == ("deferred", 0)
        # Replies that were still to be sent together are lost together.
        assert phase in ("mail", "rcpt", "data")
        assert not session.worn_out


async def test_a_loss_at_data_leaves_the_refused_refused() -> None:
    rules = {"RCPT": {"no@b.test": "550 who?"}, "DATA": DROP}
    async with talk(on=rules) as (_upstream, session):
        assert await offered(session, mail_to("no@b.test", "bob@b.test")) == [
            ("failed", 550, "rcpt"),
            ("deferred", 0, "data"),
        ]


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", "DOT"])
async def test_421_defers_and_ends_the_connection(extensions: Sequence[str], moment: str) -> None:
    async with talk(extensions=extensions, on={moment: "421 4.3.2 bye"}) as (_upstream, session):
        assert (
            await offered(session, mail_to("a@b.test", "b@b.test"))
            == [("deferred", 421, moment.lower())] * 2
        )
        assert not session.reusable


async def test_nothing_is_waited_for_after_421() -> None:
    rules = {"MAIL": Raw(b"421 4.3.2 bye\r\n"), "RCPT": HANG}
    async with talk(on=rules) as (_, session), asyncio.timeout(2):
        assert await offered(session, mail_to("a@b.test")) == [("deferred", 421, "mail")]


async def test_421_at_the_second_recipient_keeps_what_was_said_of_the_first(
    extensions: Sequence[str],
) -> None:
    rules = {"RCPT": ["550 who?", "421 bye"]}
    async with talk(extensions=extensions, on=rules) as (_upstream, session):
        assert await offered(session, mail_to("a@b.test", "b@b.test", "c@b.test")) == [
            ("failed", 550, "rcpt"),
            ("deferred", 421, "rcpt"),
            ("deferred", 421, "rcpt"),
        ]


async def test_421_to_the_second_mail_says_nothing_of_that_mail(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions, mails_per_connection=1) as (_upstream, session):
        assert await offered(session, mail_to("a@b.test")) == [SENT]
        assert not session.worn_out
        assert await offered(session, mail_to("b@b.test")) == [("deferred", 421, "mail")]
        assert session.worn_out
        assert session.takes_mails == 1


async def test_a_loss_at_the_second_mail_says_nothing_of_that_mail() -> None:
    async with (
        FakeUpstream(on={"MAIL": [None, DROP]}) as upstream,
        opened(upstream.port) as session,
    ):
        await offered(session, mail_to("a@b.test"))
        assert await offered(session, mail_to("b@b.test")) == [("deferred", 0, "mail")]
        assert session.worn_out
        assert session.takes_mails is None


# Slowness and nonsense


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
async def test_a_hanging_command_is_cut(extensions: Sequence[str], moment: str) -> None:
    async with talk(extensions=extensions, hang_at=moment, timeouts=HASTY) as (_upstream, session):
        assert (await offered(session, mail_to("bob@b.test")))[0][0] == "deferred"


async def test_a_reply_in_drips_does_not_prolong_the_wait() -> None:
    drips = Slowly("250 2.0.0 " + "x" * 200, 0.05)
    async with talk(on={"DOT": drips}, timeouts=HASTY) as (_upstream, session):
        before = asyncio.get_running_loop().time()
        assert await offered(session, mail_to("bob@b.test")) == [("unknown", 0, "dot")]
        assert asyncio.get_running_loop().time() - before < 2


@pytest.mark.parametrize(
    "nonsense", [b"no\r\n", b"2" * 9_000, b"250-x\r\n" * 200, b"\xff\xfe\x00\r\n"]
)
async def test_nonsense_before_the_dot_is_deferred(
    extensions: Sequence[str], nonsense: bytes
) -> None:
    async with talk(extensions=extensions, on={"RCPT": Raw(nonsense)}) as (_upstream, session):
        [outcome] = await session.offer(mail_to("bob@b.test"), nothing)
        assert told([outcome]) == [("deferred", 0, "rcpt")]
        assert outcome.reply.isprintable()
        assert not session.reusable


async def test_a_long_reply_is_stored_short_and_printable() -> None:
    reply = Raw(b"550-" + b"\x1b[31m" * 500 + b"\r\n550 end\r\n")
    async with talk(extensions=LOCKSTEP, on={"RCPT": reply}) as (_upstream, session):
        [outcome] = await session.offer(mail_to("bob@b.test"), nothing)
        assert outcome.code == 550
        assert outcome.reply.isprintable()
        assert len(outcome.reply) == 1_000


async def test_a_line_that_nobody_asked_for_answers_nothing(extensions: Sequence[str]) -> None:
    twice = Raw(b"250 2.0.0 queued\r\n250 and again\r\n")
    rules = {"DOT": [twice], "RCPT": [None, "550 who?"]}
    async with talk(extensions=extensions, on=rules) as (_upstream, session):
        assert await offered(session, mail_to("a@b.test")) == [SENT]
        assert not session.reusable
        assert await offered(session, mail_to("b@b.test")) == [("failed", 550, "rcpt")]


async def test_a_second_reply_to_mail_is_not_the_reply_to_rcpt() -> None:
    rules = {"MAIL": Raw(b"250 ok\r\n250 ok again\r\n"), "RCPT": "550 who?"}
    async with talk(extensions=LOCKSTEP, on=rules) as (_upstream, session):
        assert await offered(session, mail_to("a@b.test")) == [("failed", 550, "rcpt")]
        assert not session.reusable


# The caller's side


async def test_before_data_comes_before_anything_can_be_taken(extensions: Sequence[str]) -> None:
    async with talk(extensions=extensions) as (upstream, session):
        seen: list[str] = []

        async def before_data() -> None:
            seen.extend(command.split(" ")[0] for command in upstream.commands)

        await session.offer(mail_to("bob@b.test", "eve@b.test"), before_data)
        lockstep = ["MAIL", "RCPT", "RCPT"] if extensions is LOCKSTEP else []
        assert seen == ["EHLO", *lockstep]


async def test_a_failing_before_data_sends_nothing(extensions: Sequence[str]) -> None:
    class LeaseLostError(Exception): ...

    async def before_data() -> None:
        raise LeaseLostError

    async with talk(extensions=extensions) as (upstream, session):
        with pytest.raises(LeaseLostError):
            await session.offer(mail_to("bob@b.test"), before_data)
        assert not any(command.startswith("DATA") for command in upstream.commands)
        # Pipelined nothing was said at all; in lockstep an envelope was begun.
        assert session.reusable is (extensions is EXTENSIONS)


async def test_before_data_is_not_asked_where_nobody_is_left() -> None:
    async def before_data() -> None:
        raise AssertionError

    rules = {"RCPT": "550 who?"}
    async with talk(extensions=LOCKSTEP, on=rules) as (_upstream, session):
        outcomes = await session.offer(mail_to("a@b.test", "b@b.test"), before_data)
        assert told(outcomes) == [("failed", 550, "rcpt")] * 2


@pytest.mark.parametrize("moment", ["RCPT", "DATA", "DOT"])
async def test_a_cancelled_offer_ends_the_connection(
    extensions: Sequence[str], moment: str
) -> None:
    reached = asyncio.Event()

    async def hang(_: Moment) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with talk(extensions=extensions, on={moment: hang}) as (upstream, session):
        task = asyncio.create_task(session.offer(mail_to("bob@b.test"), nothing))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not session.reusable
        upstream.on.clear()
        assert await offered(session, mail_to("eve@b.test")) == [("deferred", 0, "mail")]
        assert upstream.received == []


# Big mail


def body_of(size_bytes: int) -> bytes:
    return b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * (size_bytes // 78)


async def test_a_big_mail_is_sent_without_copies() -> None:
    content = body_of(25_000_000)
    async with talk(keeps_content=False) as (_, session):
        tracemalloc.start()
        try:
            assert await offered(session, mail_to("bob@b.test", content=content)) == [SENT]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 5_000_000


class Interrupter(asyncio.Protocol):
    """Says 354, reads some of the mail, says `words`, then goes on reading or never reads again."""

    def __init__(self, words: bytes) -> None:
        self.seen = bytearray()
        self.gone = asyncio.Event()
        self._words = words
        self._is_done = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 hello\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self.seen += data
        if data.startswith(b"EHLO"):
            self._transport.write(b"250-interrupter\r\n250 PIPELINING\r\n")
        elif data.startswith(b"MAIL"):
            self._transport.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        elif not self._is_done:
            self._is_done = True
            if self._words:
                self._transport.write(self._words)
            else:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()

    def resume(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()


@pytest.mark.parametrize(
    ("words", "timeouts", "expected"),
    [
        (b"", HASTY, ("deferred", 0, "data")),
        (b"552 5.3.4 too big\r\n", PATIENT, ("failed", 552, "data")),
        (b"421 4.3.2 stopping\r\n", PATIENT, ("deferred", 421, "data")),
        (b"250 ok\r\n", PATIENT, ("deferred", 250, "data")),
        (b"???\r\n", PATIENT, ("deferred", 0, "data")),
    ],
    ids=["stalls", "refuses", "stops", "lies", "babbles"],
)
async def test_a_mail_half_written_is_neither_taken_nor_ended(
    words: bytes, timeouts: Timeouts, expected: tuple[str, int, str]
) -> None:
    upstream = Interrupter(words)
    server = await asyncio.get_running_loop().create_server(lambda: upstream, "127.0.0.1", 0)
    async with server, opened(server.sockets[0].getsockname()[1], timeouts) as session:
        mail = mail_to("bob@b.test", content=body_of(25_000_000))
        assert await offered(session, mail) == [expected]
        assert not session.reusable
        upstream.resume()
        await upstream.gone.wait()
        assert not upstream.seen.endswith(b".\r\n")


@pytest.mark.parametrize(
    "scenario",
    [
        partial(test_a_mail_arrives_byte_for_byte, EXTENSIONS),
        partial(test_many_mails_go_over_one_connection, LOCKSTEP),
        partial(test_each_recipient_gets_its_own_answer, EXTENSIONS),
        partial(test_a_loss_after_the_dot_is_unknown_but_for_the_refused, EXTENSIONS, DROP),
        partial(test_a_loss_after_the_dot_is_unknown_but_for_the_refused, EXTENSIONS, RESET),
        partial(test_a_loss_before_the_dot_is_deferred, EXTENSIONS, "DATA"),
        partial(test_no_answer_to_the_dot_in_time_is_unknown),
        partial(test_a_cancelled_offer_ends_the_connection, EXTENSIONS, "DOT"),
        partial(test_421_to_the_second_mail_says_nothing_of_that_mail, EXTENSIONS),
        partial(test_a_big_mail_is_sent_without_copies),
        partial(
            test_a_mail_half_written_is_neither_taken_nor_ended, b"", HASTY, ("deferred", 0, "data")
        ),
    ],
    ids=lambda scenario: scenario.func.__name__,
)
def test_the_same_holds_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
