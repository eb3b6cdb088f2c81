"""Mail that goes to the relay by the local socket of an instance."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.running import RunningNode
from tests.cli.sendmail.calling import HELLO, Caller
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, open_node
from tests.waiting import until


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def relay(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Relay]:
    """A node of the instance `default` with its local socket, and the tenant `acme`."""
    url = f"sqlite:{tmp_path / 'pillarbox.db'}"
    node = await open_node(tmp_path / "home", url, **{"http.listen": "127.0.0.1:0"})
    running = RunningNode(node)
    await running.start()
    relay = Relay(node)
    await relay.tenant("acme")
    await relay.account(upstream)
    yield relay
    await running.stop()


@pytest.fixture
def call(tmp_path: Path) -> Caller:
    home = str(tmp_path / "home")
    return Caller(tmp_path, {"home": home, "tenant": "acme", "domain": "acme.test"})


async def test_a_mail_is_queued_and_sent(
    relay: Relay, call: Caller, upstream: FakeUpstream
) -> None:
    await call.ok("-t", "-i")
    [mail] = await upstream.wait_for(1)
    assert (mail.sender, mail.recipients) == ("app@acme.test", ("bob@there.test",))
    assert mail.content.endswith(HELLO.replace(b"\n", b"\r\n"))


async def test_a_mail_for_very_many_goes_to_all(
    relay: Relay, call: Caller, upstream: FakeUpstream
) -> None:
    everyone = [f"user{number:03}@there.test" for number in range(400)]
    await call.ok("-f", "<>", *everyone)

    async def all_have_it() -> bool:
        return {to for mail in upstream.received for to in mail.recipients} == set(everyone)

    await until(all_have_it)
    assert {mail.sender for mail in upstream.received} == {""}


async def test_an_account_can_be_named(relay: Relay, call: Caller) -> None:
    named = Caller(call.home, {**call.settings, "account": "none-such"})
    ending = await named("bob@there.test")
    assert ending.code == os.EX_CONFIG
    assert "account not found" in ending.err


@pytest.mark.parametrize(
    ("to", "mail", "code"),
    [
        ("no address at all@", HELLO, os.EX_DATAERR),
        ("bob@there.test", b"Subject: a\rb\n\n", os.EX_DATAERR),
    ],
)
async def test_what_is_wrong_with_a_mail_is_told(
    relay: Relay, call: Caller, to: str, mail: bytes, code: int
) -> None:
    ending = await call(to, mail=mail)
    assert (ending.code, len(ending.err.splitlines())) == (code, 1)


async def test_what_waits_is_shown(relay: Relay, call: Caller, upstream: FakeUpstream) -> None:
    assert (await call.ok("-bp")).out == b"Mail queue is empty\n"
    upstream.on["RCPT"] = {"bob@there.test": "451 4.3.0 later"}
    await call.ok("bob@there.test")
    assert b"bob@there.test" in (await call.ok("-bp")).out


async def test_the_caller_keeps_the_mail_while_the_relay_is_down(
    call: Caller, tmp_path: Path
) -> None:
    assert (await call("bob@there.test")).code == os.EX_TEMPFAIL
    folder = tmp_path / "home" / "default"
    folder.mkdir(parents=True)
    assert (await call("bob@there.test")).code == os.EX_TEMPFAIL
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(folder / "api.sock"))
    assert (await call("bob@there.test")).code == os.EX_TEMPFAIL


async def test_somebody_has_to_say_where_mail_goes(tmp_path: Path) -> None:
    ending = await Caller(tmp_path, {})("bob@there.test")
    assert (ending.code, "tenant" in ending.err) == (os.EX_CONFIG, True)
