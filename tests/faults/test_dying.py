"""One mail, and a death at each point of its way: what is stored afterwards, how often it is sent,
and whether that is said.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from tests.fakes.upstream import LOCKSTEP
from tests.faults.actions import died
from tests.faults.dying import command
from tests.faults.house import House
from tests.faults.invariants import Bounds, Times, violations
from tests.faults.ledgers import FIELD, Books, Reply, new_token
from tests.faults.run import read_books
from tests.faults.selection import on_stores, stores
from tests.faults.traffic import Client, Traffic, message
from tests.faults.view import is_drained
from tests.waiting import until

CLAIMS = {"PILLARBOX_DISPATCH_HANDOVER_MESSAGES": "0"}


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of the mail: how many copies there may be, and whether an event says so."""

    copies: tuple[int, ...]
    is_flagged: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] | None = None


FATES = {
    "stored, before commit": Fate((0,)),
    "committed, before the reply": Fate((1,)),
    "claimed, before commit": Fate((1,), settings=CLAIMS),
    "claimed": Fate((1,), settings=CLAIMS),
    "envelope said": Fate((1,), extensions=LOCKSTEP),
    "begun, before DATA": Fate((1,), is_flagged=True, extensions=LOCKSTEP),
    "354 read, before the content": Fate((1,), is_flagged=True),
    # Whether the last bytes still leave a machine that stops is chance.
    "dot written": Fate((1, 2), is_flagged=True),
    "reply read, before settling": Fate((2,), is_flagged=True),
    "settled, before commit": Fate((2,), is_flagged=True),
    "settled": Fate((1,)),
}
# Before these the client had no reply for certain.
UNANSWERED = ("stored, before commit", "committed, before the reply")


@pytest.mark.slow
@pytest.mark.parametrize(("point", "store"), on_stores(*FATES))
async def test_a_death_leaves_what_the_point_says(
    point: str, store: str, tmp_path: Path, postgres_server: str
) -> None:
    fate = FATES[point]
    async with House(
        tmp_path, store, postgres=postgres_server, settings=fate.settings, run=command(point)
    ) as house:
        if fate.extensions:
            house.sinks["acme"].upstream.extensions = fate.extensions
        traffic = Traffic(house)
        with suppress(aiosmtplib.SMTPException, OSError):
            await Client(traffic, 0, house.tenants["acme"]).by_fresh_smtp()
        await died(house.nodes[0], point)
        await house.nodes[0].start()
        books = await settled(house, traffic, min(fate.copies))
    [given] = books.given
    if point in UNANSWERED:
        assert given.reply is Reply.NOTHING
    assert len(books.got) in fate.copies
    assert len(books.shown) == (fate.copies != (0,))
    assert any(entry.is_flagged for entry in books.shown) == fate.is_flagged


async def settled(house: House, traffic: Traffic, copies: int) -> Books:
    """Wait until nothing waits any more; return the books, which must hold."""

    async def has_come() -> bool:
        return len(house.got) >= copies and await is_drained(house)

    await until(has_come, timeout_s=15)
    books = await read_books(house, traffic)
    assert violations(books, Bounds(), Times(0.0, 0.0)) == []
    return books


@pytest.mark.slow
@pytest.mark.parametrize("store", stores(1))
async def test_a_call_that_is_repeated_with_its_key_stores_one_mail(
    store: str, tmp_path: Path, postgres_server: str
) -> None:
    """The reply was lost after the commit, and the client does not know."""
    point = "committed, before the reply"
    async with House(tmp_path, store, postgres=postgres_server, run=command(point)) as house:
        token = new_token()
        call = {"messages": [message(token, house.tenants["acme"])]}
        key = {"Idempotency-Key": token}
        async with house.as_tenant("acme", 0) as client:
            with pytest.raises(httpx.TransportError):
                await client.post("/commands/add-messages", json=call, headers=key)
            await died(house.nodes[0], point)
            await house.nodes[0].start()
            answer = await client.post("/commands/add-messages", json=call, headers=key)
        assert answer.status_code == 200
        assert answer.json()["queued"] == 1
        await is_there_once(house, token)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "store"), on_stores("X-Pillarbox-Idempotency-Key", "X-Pillarbox-Id")
)
async def test_a_mail_that_is_given_again_by_smtp_is_stored_once(
    name: str, store: str, tmp_path: Path, postgres_server: str
) -> None:
    point = "committed, before the reply"
    async with House(tmp_path, store, postgres=postgres_server, run=command(point)) as house:
        token = new_token()
        content = f"{name}: {token}\r\n{FIELD}: {token}\r\nSubject: x\r\n\r\nhi\r\n"
        with pytest.raises(aiosmtplib.SMTPException):
            await give(house, token, content)
        await died(house.nodes[0], point)
        await house.nodes[0].start()
        # By its id alone a mail that was sent meanwhile is refused: also an answer.
        with suppress(aiosmtplib.SMTPDataError):
            await give(house, token, content)
        await is_there_once(house, token)


async def give(house: House, token: str, content: str) -> None:
    tenancy = house.tenants["acme"]
    await aiosmtplib.send(
        content,
        sender="app@acme.test",
        recipients=[f"{token}@sink.test"],
        hostname="127.0.0.1",
        port=house.nodes[0].smtp_port,
        username=tenancy.username,
        password=tenancy.password,
        start_tls=False,
    )


async def is_there_once(house: House, token: str) -> None:
    async def has_come() -> bool:
        return bool(house.got) and await is_drained(house)

    await until(has_come, timeout_s=15)
    assert [got.token for got in house.got] == [token]
    async with house.as_tenant("acme") as client:
        answer = await client.get("/messages", params={"tenant_id": "acme"})
    assert len(answer.json()["messages"]) == 1
