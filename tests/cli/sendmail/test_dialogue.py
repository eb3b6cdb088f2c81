"""-bs: SMTP by standard input and output, carried to the relay."""

import os
from pathlib import Path

from cli.sendmail.dialogue import LINE_MAX_BYTES
from tests.cli.sendmail.calling import Caller
from tests.fakes.upstream import FakeUpstream

SPOKEN = (
    b"EHLO me\nMAIL FROM:<app@acme.test>\nRCPT TO:<bob@there.test>\nDATA\n"
    b"Subject: x\n\n..dot\n.\nQUIT\n"
)


async def test_what_is_said_reaches_the_relay_with_our_login(tmp_path: Path) -> None:
    async with FakeUpstream(users={"app": "a secret"}) as relay:
        settings = {
            "server": f"127.0.0.1:{relay.port}",
            "user": "app",
            "password": "a secret",
        }
        ending = await Caller(tmp_path, settings).ok("-bs", mail=SPOKEN)
        [mail] = await relay.wait_for(1)
        assert (mail.user, mail.recipients) == ("app", ("bob@there.test",))
        assert mail.content == b"Subject: x\r\n\r\n.dot\r\n"
        replies = ending.out.decode().splitlines()
        codes = [reply[:3] for reply in replies if reply[3:4] == " "]
        assert codes == ["220", "250", "250", "250", "354", "250", "221"]
        assert not [reply for reply in replies if "AUTH" in reply or "STARTTLS" in reply]


async def test_only_a_line_of_its_own_is_the_last_dot(tmp_path: Path) -> None:
    long_line = b"x" * LINE_MAX_BYTES + b"."
    async with FakeUpstream() as relay:
        call = Caller(tmp_path, {"server": f"127.0.0.1:{relay.port}"})
        await call.ok("-bs", mail=SPOKEN.replace(b"..dot", long_line))
        [mail] = await relay.wait_for(1)
        assert mail.content.endswith(long_line + b"\r\n")


async def test_a_dialogue_may_end_without_a_word(tmp_path: Path) -> None:
    async with FakeUpstream() as relay:
        call = Caller(tmp_path, {"server": f"127.0.0.1:{relay.port}"})
        ending = await call.ok("-bs", mail=b"EHLO me\r\nSTARTTLS\r\n")
        assert b"502 5.5.1" in ending.out


async def test_a_mail_that_is_cut_off_is_not_sent(tmp_path: Path) -> None:
    async with FakeUpstream() as relay:
        call = Caller(tmp_path, {"server": f"127.0.0.1:{relay.port}"})
        ending = await call("-bs", mail=SPOKEN[: SPOKEN.index(b"\n.\n")])
        assert ending.code == os.EX_DATAERR
        assert not relay.received


async def test_a_caller_hears_that_the_relay_is_down(tmp_path: Path) -> None:
    async with FakeUpstream() as relay:
        call = Caller(tmp_path, {"server": f"127.0.0.1:{relay.port}"})
    ending = await call("-bs", mail=SPOKEN)
    assert (ending.code, ending.out[:3]) == (os.EX_TEMPFAIL, b"421")


async def test_a_dialogue_needs_a_server(tmp_path: Path) -> None:
    assert (await Caller(tmp_path, {"tenant": "acme"})("-bs")).code == os.EX_CONFIG
