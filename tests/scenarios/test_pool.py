"""Opening, securing, logging in, keeping and closing of connections to upstreams."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from relay.dispatch.commands import Extensions, Offer
from relay.dispatch.pool import Pool, PoolSettings, Upstream, effective_tls
from relay.errors import AccountFault
from relay.model import Account, Pending, TlsMode
from tests.fakes.upstream import DROP, HANG, LOCKSTEP, FakeUpstream, Raw, Rule, Slowly

SETTINGS = PoolSettings(
    helo_name="relay.test",
    connect_timeout_s=5,
    command_timeout_s=5,
    data_timeout_s=5,
    idle_s=60,
    max_age_s=300,
    probe_after_s=30,
)
HASTY = replace(SETTINGS, connect_timeout_s=0.3, command_timeout_s=0.3)
LOGIN = {"user": "acme", "password": "hunter2"}
CA = trustme.CA()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def pool_of(
    settings: PoolSettings = SETTINGS, clock: Clock | None = None
) -> AsyncIterator[Pool]:
    pool = Pool(settings, clock or Clock())
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


async def nothing() -> None: ...


async def send(upstream: Upstream, address: str = "bob@b.test") -> tuple[str, int]:
    mail = Offer("alice@a.test", (Pending(0, address),), b"Subject: x\r\n\r\nhi\r\n")
    [outcome] = await upstream.session.offer(mail, nothing)
    return outcome.verdict.value, outcome.code


async def until_lost(upstream: Upstream) -> None:
    async with asyncio.timeout(5):
        while upstream.session.reusable:
            await asyncio.sleep(0.001)


async def fault_of(account: Account, settings: PoolSettings = SETTINGS) -> AccountFault:
    async with pool_of(settings) as pool:
        with pytest.raises(AccountFault) as caught:
            await pool.acquire(account)
        assert pool.open_count == 0
        assert str(caught.value).isprintable()
        assert "hunter2" not in str(caught.value)
        return caught.value


# Opening


async def test_what_the_upstream_offers_is_known() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account())
        assert upstream.session.extensions == Extensions(52428800, True, True, True, True, True)
        await pool.release(upstream)
        assert fake.commands == ["EHLO relay.test"]


async def test_a_size_without_a_number_is_no_limit() -> None:
    async with FakeUpstream(extensions=("SIZE",)) as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account())
        assert upstream.session.extensions == Extensions(size=0)


async def test_nobody_listening_is_a_fault_of_the_account() -> None:
    async with FakeUpstream() as fake:
        account = fake.account()
    fault = await fault_of(account)
    assert (fault.phase, fault.code) == ("connect", 0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "bad\r\nhost", "a..b", "x" * 300])
async def test_a_host_that_leads_nowhere_is_a_fault_of_the_account(host: str) -> None:
    account = Account("acme", "main", host, 25, tls=TlsMode.NONE)
    assert (await fault_of(account)).phase == "connect"


@pytest.mark.parametrize(("moment", "phase"), [("GREETING", "connect"), ("EHLO", "ehlo")])
@pytest.mark.parametrize("reply", ["421 4.3.2 busy", "554 5.7.1 go away"])
async def test_a_refusal_before_any_mail_is_a_fault(moment: str, phase: str, reply: str) -> None:
    async with FakeUpstream(on={moment: reply}) as fake:
        fault = await fault_of(fake.account())
        assert (fault.phase, fault.code) == (phase, int(reply[:3]))


@pytest.mark.parametrize(
    ("moment", "phase"), [("GREETING", "connect"), ("EHLO", "ehlo"), ("AUTH", "auth")]
)
@pytest.mark.parametrize("ending", [HANG, DROP, Raw(b"what?\r\n"), Raw(b"2" * 50_000)], ids=repr)
async def test_silence_loss_and_nonsense_are_faults(moment: str, phase: str, ending: Any) -> None:
    async with FakeUpstream(on={moment: ending}, users={"acme": "hunter2"}) as fake:
        fault = await fault_of(fake.account(**LOGIN), HASTY)
        assert (fault.phase, fault.code) == (phase, 0)


async def test_a_greeting_in_drips_is_cut_at_the_time_to_connect() -> None:
    async with FakeUpstream(on={"GREETING": Slowly("220-" + "x" * 500, 0.02)}) as fake:
        async with asyncio.timeout(3):
            assert (await fault_of(fake.account(), HASTY)).phase == "connect"


# TLS


@pytest.mark.parametrize("mode", ["starttls", "implicit_tls"])
async def test_mail_goes_over_verified_tls(mode: str, ca_file: str) -> None:
    async with FakeUpstream(ca=CA, **{mode: True}, users={"acme": "hunter2"}) as fake:  # type: ignore[arg-type] # one of two flags
        async with pool_of() as pool:
            for _ in range(3):
                upstream = await pool.acquire(fake.account(ca_file=ca_file, **LOGIN))
                assert await send(upstream) == ("sent", 250)
                await pool.release(upstream)
        assert [(mail.tls, mail.user) for mail in fake.received] == [(True, "acme")] * 3
        assert fake.connections == 1


async def test_a_big_mail_goes_over_tls(ca_file: str) -> None:
    content = (b"x" * 76 + b"\r\n") * 64_000
    async with FakeUpstream(ca=CA, starttls=True) as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account(ca_file=ca_file))
        mail = Offer("a@a.test", (Pending(0, "b@b.test"),), content)
        await upstream.session.offer(mail, nothing)
        assert fake.received[0].content == content


@pytest.mark.parametrize("mode", ["starttls", "implicit_tls"])
async def test_an_unknown_issuer_is_a_fault(mode: str) -> None:
    async with FakeUpstream(ca=CA, **{mode: True}) as fake:  # type: ignore[arg-type] # as above
        fault = await fault_of(fake.account())
        assert (fault.phase, fault.code) == ("tls", 0)
        assert "certificate" in str(fault).lower()
        assert not any(command.startswith("MAIL") for command in fake.commands)


async def test_a_certificate_for_another_name_is_a_fault(ca_file: str) -> None:
    async with FakeUpstream(ca=CA, starttls=True, names=["other.test"]) as fake:
        assert (await fault_of(fake.account(ca_file=ca_file))).phase == "tls"


async def test_verification_can_be_turned_off() -> None:
    async with FakeUpstream(ca=CA, starttls=True, names=["other.test"]) as fake:
        async with pool_of() as pool:
            assert await send(await pool.acquire(fake.account(verify=False))) == ("sent", 250)
        assert fake.received[0].tls


async def test_a_ca_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    account = Account("acme", "main", "127.0.0.1", 25, ca_file=str(tmp_path / "none.pem"))
    assert (await fault_of(account)).phase == "tls"


async def test_required_starttls_that_is_not_offered_is_a_fault() -> None:
    async with FakeUpstream(users={"acme": "hunter2"}) as fake:
        fault = await fault_of(fake.account(tls=TlsMode.STARTTLS, **LOGIN))
        assert fault.phase == "tls"
        assert fake.logins == []


async def test_a_login_is_never_said_in_clear_unless_tls_is_turned_off_by_name() -> None:
    async with FakeUpstream(users={"acme": "hunter2"}) as fake:
        account = fake.account(tls=TlsMode.OPPORTUNISTIC, **LOGIN)
        assert (await fault_of(account)).phase == "tls"
        assert not any(command.startswith("AUTH") for command in fake.commands)
        async with pool_of() as pool:
            await pool.acquire(fake.account(tls=TlsMode.NONE, **LOGIN))
        assert fake.logins == ["PLAIN"]


async def test_opportunistic_tls_without_a_login_goes_in_clear_where_none_is_offered() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account(tls=TlsMode.OPPORTUNISTIC))
        assert await send(upstream) == ("sent", 250)


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC])
@pytest.mark.parametrize(
    "answer",
    [
        "454 4.7.0 not now",
        DROP,
        HANG,
        Raw(b"220 go\r\nnot tls at all\r\n"),
        Raw(b"220 go\r\n", drop=True),
    ],
    ids=repr,
)
async def test_starttls_that_fails_is_a_fault_and_never_plain(answer: Any, tls: TlsMode) -> None:
    async with FakeUpstream(ca=CA, starttls=True, on={"STARTTLS": answer}) as fake:
        fault = await fault_of(fake.account(tls=tls), HASTY)
        assert (fault.phase, fault.code) == ("tls", 454 if answer == "454 4.7.0 not now" else 0)
        assert not any(command.startswith("MAIL") for command in fake.commands)


async def test_what_was_injected_before_tls_is_forgotten(ca_file: str) -> None:
    injected = Raw(b"220 go\r\n250-fake.test\r\n250 AUTH PLAIN\r\n")
    async with FakeUpstream(ca=CA, starttls=True, on={"STARTTLS": injected}) as fake:
        async with pool_of() as pool:
            upstream = await pool.acquire(fake.account(ca_file=ca_file))
            assert upstream.session.extensions.pipelining
            assert await send(upstream) == ("sent", 250)
        assert fake.received[0].tls


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, TlsMode.OPPORTUNISTIC),
        ({"user": "u"}, TlsMode.STARTTLS),
        ({"port": 465}, TlsMode.IMPLICIT),
        ({"use_tls": True}, TlsMode.STARTTLS),
        ({"use_tls": True, "port": 465}, TlsMode.IMPLICIT),
        ({"use_tls": False, "user": "u"}, TlsMode.NONE),
        ({"use_tls": False, "tls": TlsMode.IMPLICIT}, TlsMode.IMPLICIT),
        ({"port": 465, "tls_given": True}, TlsMode.OPPORTUNISTIC),
        ({"tls": TlsMode.NONE, "user": "u"}, TlsMode.NONE),
    ],
)
def test_the_mode_of_tls_follows_from_the_account(changes: dict[str, Any], mode: TlsMode) -> None:
    values: dict[str, Any] = {"tenant_id": "t", "id": "a", "host": "h", "port": 25}
    assert effective_tls(Account(**(values | changes))) is mode


# AUTH


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        (("CRAM-MD5", "LOGIN", "PLAIN"), "PLAIN"),
        (("CRAM-MD5", "LOGIN"), "LOGIN"),
        (("XOAUTH2", "CRAM-MD5"), "CRAM-MD5"),
    ],
)
async def test_one_mechanism_is_used(offered: tuple[str, ...], used: str) -> None:
    async with FakeUpstream(users={"acme": "hunter2"}, mechanisms=offered) as fake:
        async with pool_of() as pool:
            assert await send(await pool.acquire(fake.account(**LOGIN))) == ("sent", 250)
        assert fake.logins == [used]
        assert fake.received[0].user == "acme"


async def test_a_wrong_login_is_tried_once() -> None:
    users = {"acme": "another"}
    async with FakeUpstream(users=users, mechanisms=("PLAIN", "LOGIN", "CRAM-MD5")) as fake:
        fault = await fault_of(fake.account(**LOGIN))
        assert (fault.phase, fault.code) == ("auth", 535)
        assert fake.logins == ["PLAIN"]


async def test_a_password_that_the_upstream_repeats_is_blotted_out() -> None:
    token = "AGFjbWUAaHVudGVyMg=="
    rules = {"AUTH": f"535 wrong: AUTH PLAIN {token} hunter2"}
    async with FakeUpstream(users={"acme": "x"}, on=rules) as fake:
        fault = await fault_of(fake.account(**LOGIN))
        assert str(fault) == "535 wrong: AUTH PLAIN *** ***"


@pytest.mark.parametrize("mechanisms", [(), ("XOAUTH2", "GSSAPI")])
async def test_no_known_mechanism_is_a_fault(mechanisms: tuple[str, ...]) -> None:
    async with FakeUpstream(users={"acme": "hunter2"}, mechanisms=mechanisms) as fake:
        assert (await fault_of(fake.account(**LOGIN))).phase == "auth"


# Keeping


async def test_the_connection_used_last_is_lent_first() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        account = fake.account()
        first, second = await pool.acquire(account), await pool.acquire(account)
        assert pool.open_count == 2
        await pool.release(first)
        await pool.release(second)
        assert pool.idle(account.key) == 2
        assert await pool.acquire(account) is second
        assert await pool.acquire(account) is first
        assert fake.connections == 2


@pytest.mark.parametrize("change", [{"tenant_id": "evil"}, {"id": "other"}, {"version": 2}])
async def test_a_connection_serves_one_version_of_one_account(change: dict[str, Any]) -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        await pool.release(await pool.acquire(fake.account()))
        await pool.release(await pool.acquire(fake.account(**change)))
        assert fake.connections == 2


async def test_a_connection_that_died_idle_is_replaced_without_a_word() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        first = await pool.acquire(fake.account())
        await pool.release(first)
        fake.hang_up()
        await until_lost(first)
        upstream = await pool.acquire(fake.account())
        assert upstream is not first
        assert await send(upstream) == ("sent", 250)


async def test_an_upstream_that_closes_idle_connections_costs_nothing() -> None:
    async with FakeUpstream(idle_close_s=0.02) as fake, pool_of() as pool:
        for _ in range(3):
            upstream = await pool.acquire(fake.account())
            assert await send(upstream) == ("sent", 250)
            await pool.release(upstream)
            await until_lost(upstream)
        assert fake.connections == 3


@pytest.mark.parametrize("line", [b"421 4.4.2 idle for too long\r\n", b"250 hello?\r\n", b"250"])
async def test_a_connection_that_spoke_uncalled_is_not_used_again(line: bytes) -> None:
    async with FakeUpstream(on={"DOT": [Raw(b"250 ok\r\n" + line)]}) as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account())
        assert await send(upstream) == ("sent", 250)
        await pool.release(upstream)
        assert await send(await pool.acquire(fake.account())) == ("sent", 250)
        assert fake.connections == 2


async def test_only_what_was_idle_for_long_is_probed() -> None:
    clock = Clock()
    async with FakeUpstream() as fake, pool_of(clock=clock) as pool:
        await pool.release(await pool.acquire(fake.account()))
        clock.now += SETTINGS.probe_after_s - 1
        await pool.release(await pool.acquire(fake.account()))
        assert "RSET" not in fake.commands
        clock.now += SETTINGS.probe_after_s + 1
        await pool.release(await pool.acquire(fake.account()))
        assert fake.commands.count("RSET") == 1
        assert fake.connections == 1


@pytest.mark.parametrize("answer", [HANG, DROP, "502 what?", "421 bye"], ids=repr)
async def test_a_connection_that_fails_its_probe_is_replaced(answer: Any) -> None:
    clock = Clock()
    async with FakeUpstream(on={"RSET": answer}) as fake, pool_of(HASTY, clock) as pool:
        await pool.release(await pool.acquire(fake.account()))
        clock.now += SETTINGS.probe_after_s + 1
        assert await send(await pool.acquire(fake.account())) == ("sent", 250)
        assert fake.connections == 2


async def test_a_probe_that_is_cancelled_leaves_nothing_open() -> None:
    clock = Clock()
    async with FakeUpstream(hang_at="RSET") as fake, pool_of(clock=clock) as pool:
        await pool.release(await pool.acquire(fake.account()))
        clock.now += SETTINGS.probe_after_s + 1
        task = asyncio.create_task(pool.acquire(fake.account()))
        await fake.wait_for_command("RSET")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.wait_until_closed()
        assert pool.open_count == 0


async def test_an_envelope_left_open_is_reset_before_the_next_mail() -> None:
    rules: dict[str, Rule] = {"RCPT": ["550 5.1.1 who?"]}
    async with FakeUpstream(extensions=LOCKSTEP, on=rules) as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account())
        assert await send(upstream) == ("failed", 550)
        await pool.release(upstream)
        assert "RSET" not in fake.commands
        assert await send(await pool.acquire(fake.account())) == ("sent", 250)
        assert fake.commands.count("RSET") == 1
        assert fake.connections == 1


async def test_an_envelope_that_cannot_be_reset_costs_the_connection_and_no_mail() -> None:
    rules: dict[str, Rule] = {"RCPT": ["550 5.1.1 who?"], "RSET": HANG}
    async with FakeUpstream(on=rules) as fake, pool_of(HASTY) as pool:
        upstream = await pool.acquire(fake.account())
        assert await send(upstream) == ("failed", 550)
        await pool.release(upstream)
        assert await send(await pool.acquire(fake.account())) == ("sent", 250)
        assert fake.connections == 2


async def test_a_connection_carries_so_many_mails_and_no_more() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        for _ in range(6):
            upstream = await pool.acquire(fake.account(max_messages_per_connection=2))
            assert await send(upstream) == ("sent", 250)
            await pool.release(upstream)
        await fake.wait_until_closed()
        assert fake.connections == 3
        assert fake.commands.count("QUIT") == 3


async def test_421_to_the_next_mail_is_learned_and_forgotten_in_time() -> None:
    clock = Clock()
    async with FakeUpstream(mails_per_connection=2) as fake, pool_of(clock=clock) as pool:
        account = fake.account()
        for expected in ["sent", "sent", "deferred"]:
            upstream = await pool.acquire(account)
            assert (await send(upstream))[0] == expected
            await pool.release(upstream)
        assert upstream.session.worn_out
        assert pool.observed_max_messages(account.key) == 2
        for _ in range(6):
            upstream = await pool.acquire(account)
            assert await send(upstream) == ("sent", 250)
            await pool.release(upstream)
        assert fake.connections == 4
        clock.now += 3600
        assert pool.observed_max_messages(account.key) is None


async def test_what_is_idle_for_too_long_is_closed() -> None:
    clock = Clock()
    async with FakeUpstream() as fake, pool_of(clock=clock) as pool:
        account = fake.account()
        await pool.release(await pool.acquire(account))
        clock.now += SETTINGS.idle_s - 1
        await pool.expire()
        assert pool.idle(account.key) == 1
        clock.now += 1
        await pool.expire()
        assert pool.open_count == 0
        await fake.wait_until_closed()
        assert fake.commands[-1] == "QUIT"


async def test_what_is_open_for_too_long_is_closed_when_it_comes_back() -> None:
    clock = Clock()
    async with FakeUpstream() as fake, pool_of(clock=clock) as pool:
        for _ in range(2):
            upstream = await pool.acquire(fake.account())
            clock.now += SETTINGS.max_age_s - 1
            await pool.release(upstream)
        assert fake.connections == 1
        assert pool.open_count == 0


async def test_a_discarded_connection_is_not_lent_again() -> None:
    async with FakeUpstream() as fake, pool_of() as pool:
        await pool.discard(await pool.acquire(fake.account()))
        await fake.wait_until_closed()
        assert pool.open_count == 0
        await pool.acquire(fake.account())
        assert fake.connections == 2


async def test_a_cancelled_mail_never_answers_for_the_next() -> None:
    async with FakeUpstream(hang_at="DOT") as fake, pool_of() as pool:
        upstream = await pool.acquire(fake.account())
        task = asyncio.create_task(send(upstream, "first@b.test"))
        await fake.wait_for_command("DATA")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await pool.release(upstream)
        fake.on.clear()
        assert await send(await pool.acquire(fake.account()), "second@b.test") == ("sent", 250)
        assert fake.connections == 2


@pytest.mark.parametrize("moment", ["GREETING", "EHLO", "AUTH"])
async def test_a_cancelled_opening_leaves_nothing_open(moment: str) -> None:
    async with FakeUpstream(hang_at=moment, users={"acme": "hunter2"}) as fake:
        pool = Pool(HASTY)
        task = asyncio.create_task(pool.acquire(fake.account(**LOGIN)))
        await fake.wait_for_connection()
        if moment != "GREETING":
            await fake.wait_for_command(moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.wait_until_closed()
        assert pool.open_count == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_closing_says_quit_and_does_not_wait_for_long(tls: bool) -> None:
    async with FakeUpstream(ca=CA, starttls=tls, hang_at="QUIT") as fake:
        pool = Pool(SETTINGS)
        account = fake.account(verify=False)
        lent = [await pool.acquire(account) for _ in range(3)]
        await pool.release(lent[0])
        await pool.release(lent[1])
        async with asyncio.timeout(4):
            await pool.close()
        assert pool.open_count == 0
        assert not lent[2].session.reusable
        if not tls:
            await fake.wait_for_command("QUIT")


@pytest.mark.parametrize(
    "scenario",
    [
        partial(test_a_connection_that_died_idle_is_replaced_without_a_word),
        partial(test_a_cancelled_mail_never_answers_for_the_next),
        partial(test_verification_can_be_turned_off),
        partial(test_an_unknown_issuer_is_a_fault, "starttls"),
        partial(test_an_unknown_issuer_is_a_fault, "implicit_tls"),
        partial(test_closing_says_quit_and_does_not_wait_for_long, True),
        partial(test_a_cancelled_opening_leaves_nothing_open, "AUTH"),
        *(
            partial(test_starttls_that_fails_is_a_fault_and_never_plain, answer, TlsMode.STARTTLS)
            for answer in (DROP, HANG, Raw(b"220 go\r\nno\r\n"), Raw(b"220 go\r\n", drop=True))
        ),
    ],
    ids=repr,
)
def test_the_same_holds_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_mail_goes_over_verified_tls_on_uvloop(ca_file: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for scenario in (
            test_mail_goes_over_verified_tls("starttls", ca_file),
            test_mail_goes_over_verified_tls("implicit_tls", ca_file),
            test_a_big_mail_goes_over_tls(ca_file),
            test_what_was_injected_before_tls_is_forgotten(ca_file),
        ):
            runner.run(scenario)
