"""Postfix's smtp-sink misbehaves as its flags say: what the table of tests/faults promises of our
own fake upstream holds of another's too.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.faults.mail_cases import Known
from tests.faults.outside import WAIT_S, Outside, outside

pytestmark = [
    pytest.mark.peers("smtp-sink"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

CASES = {
    "U1": (("-q", "."), Known("deferred", "dot", 0, doubt=True)),
    "U2": (("-q", "DATA"), Known("deferred", "data", 0)),
    "U3-MAIL": (("-Q", "MAIL"), Known("deferred", "mail", 421)),
    "U3-RCPT": (("-Q", "RCPT"), Known("deferred", "rcpt", 421)),
    "U3-DATA": (("-Q", "DATA"), Known("deferred", "data", 421)),
    "U3-dot": (("-Q", "."), Known("deferred", "dot", 421)),
    "U4": (("-r", "RCPT", "-b", "450 4.7.1 Greylisted"), Known("deferred", "rcpt", 450)),
    "U5-RCPT": (("-f", "RCPT"), Known("failed", "rcpt", 500)),
    "U5-dot": (("-f", "."), Known("failed", "dot", 500)),
    "U10": (("-H", "1", "-T", "1024"), Known("sent", "dot", 250)),
    "U19": (("-8",), Known("sent", "dot", 250)),
}


@asynccontextmanager
async def sink(*flags: str) -> AsyncIterator[int]:
    """Run smtp-sink on a port; it is not root while it runs."""
    port = free_port()
    as_nobody = ("-u", "nobody") if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        "smtp-sink", *as_nobody, *flags, f"127.0.0.1:{port}", "100"
    )
    try:
        await until_listening(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def until_listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.transport.abort()
                return


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[Outside]:
    async with outside(tmp_path / "home", database_url, {}) as relay:
        yield relay


@pytest.mark.parametrize(("flags", "known"), CASES.values(), ids=CASES.keys())
async def test_a_fault_of_smtp_sink_is_known_and_overcome(
    flags: tuple[str, ...], known: Known, relay: Outside
) -> None:
    text = "Grüße\r\n" * (20_000 if "-H" in flags else 1)
    async with sink(*flags) as port:
        await relay.account(port)
        await relay.give("smtp", "m1", [known.address], text)
        record = await relay.tried("m1")
    [recipient], [attempt] = record["recipients"], record["attempts"]
    [outcome] = attempt["outcomes"]
    assert recipient["status"] == known.state
    said = (outcome["verdict"], outcome["phase"], outcome["code"])
    assert said == (known.verdict, known.phase, known.code)
    [entry] = await relay.told("m1", known.address, 1)
    assert entry.get("possible_duplicate", False) == known.doubt
    if known.state == "deferred":
        assert recipient["next_attempt_ts"] >= int(attempt["ended_at"] + WAIT_S)
        async with sink() as port:
            await relay.account(port)
            ended = await relay.ends("m1")
        assert ended["status"] == "sent"
