"""Strangers' mail is read in processes that can be ended."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.bounces.reader import MODULE, Reader
from relay.errors import Unreadable
from relay.formats.bounce.model import Kind
from relay.formats.pec.model import ReceiptKind
from tests.fakes.bounces import bounce, letter
from tests.fakes.pec import PecMail

BOUNCE = bounce("app@acme.test", "bob@there.test")
NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5000)
)


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader(processes=1, timeout_s=10)
    yield reader
    await reader.close()


def children() -> list[int]:
    """Return the ids of the processes that read for us."""
    own = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            is_reader = MODULE in (path / "cmdline").read_text()
        except OSError:
            continue
        if parent == os.getpid() and is_reader:
            own.append(int(path.name))
    return own


async def test_a_bounce_a_receipt_and_a_letter_are_told_apart(reader: Reader) -> None:
    assert children() == []
    returned = (await reader.read(BOUNCE, is_pec=False)).returned
    assert returned
    assert (returned.kind, returned.recipients[0].address) == (Kind.HARD, "bob@there.test")
    receipt = (await reader.read(PecMail("accettazione").build(), is_pec=True)).receipt
    assert receipt
    assert receipt.kind is ReceiptKind.ACCEPTANCE
    plain = (await reader.read(letter(1), is_pec=True)).returned
    assert plain
    assert (plain.kind, plain.recipients) == (Kind.NONE, ())
    assert len(children()) == 1


async def test_a_receipt_counts_only_where_receipts_are_expected(reader: Reader) -> None:
    assert (await reader.read(PecMail("accettazione").build(), is_pec=False)).receipt is None


async def test_a_mail_that_takes_too_long_is_given_up_and_the_next_is_read(reader: Reader) -> None:
    impatient = Reader(processes=1, timeout_s=0.00001)
    with pytest.raises(Unreadable, match="not read in"):
        await impatient.read(BOUNCE, is_pec=False)
    assert children() == []
    await impatient.close()
    assert (await reader.read(BOUNCE, is_pec=False)).returned


async def test_a_process_that_died_meanwhile_is_no_fault_of_the_mail(reader: Reader) -> None:
    await reader.read(letter(1), is_pec=False)
    [first] = children()
    os.kill(first, signal.SIGKILL)
    assert (await reader.read(BOUNCE, is_pec=False)).returned
    [second] = children()
    assert second != first


async def test_mail_that_is_made_to_break_parsers_is_read_or_given_up(reader: Reader) -> None:
    for mail in (NESTED, b"From: " + b"(" * 100_000, b"\x00" * 100_000, b"", b"\r\n" * 200_000):
        await reader.read(mail, is_pec=True)
    assert (await reader.read(BOUNCE, is_pec=False)).returned


async def test_a_process_cannot_take_all_memory(reader: Reader) -> None:
    await reader.read(letter(1), is_pec=False)
    [process] = children()
    limits = Path(f"/proc/{process}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert int(line.split()[3]) < 1024**3


async def test_a_process_knows_no_secret_of_ours(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILLARBOX_ENCRYPTION_KEY", "sesame")
    await reader.read(letter(1), is_pec=False)
    [process] = children()
    assert b"sesame" not in Path(f"/proc/{process}/environ").read_bytes()


async def test_many_readers_share_the_processes_there_are() -> None:
    reader = Reader(processes=2, timeout_s=10)
    readings = await asyncio.gather(*(reader.read(BOUNCE, is_pec=False) for _ in range(20)))
    assert all(reading.returned for reading in readings)
    assert len(children()) == 2
    await reader.close()
    assert children() == []
