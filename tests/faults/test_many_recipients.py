"""Ten thousand recipients, as a client may have them: in calls of the API, each mail of as many as
it may have, and by SMTP, where the client names them all and gives the mail again to those that
were too many.
"""

import asyncio
import smtplib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.client import FakeClient
from tests.faults.house import House, Tenancy
from tests.faults.run import STORES
from tests.faults.selection import EVERYTHING, stores
from tests.faults.traffic import message
from tests.scenarios.siege import Watchman
from tests.vitals import forget_peak, peak_bytes, resident_bytes
from tests.waiting import until

RECIPIENTS = 10_000
OF_ONE_MAIL = 1000
BODY = "x" * 70 + "\r\n"
BODY_LINES = 2800  # About 200 KB: as much as comes with a claim.
# Mail in memory (64 MB), and what is written and read of ten mails with a thousand recipients.
BUDGET_BYTES = 160 << 20
LAG_S = 2.0
# How many are named by SMTP, and how many are taken at once.
BY_SMTP = [(RECIPIENTS, OF_ONE_MAIL)] if EVERYTHING else [(1000, 100)]


@dataclass(frozen=True, slots=True)
class Stage:
    house: House
    client: FakeClient

    @property
    def tenancy(self) -> Tenancy:
        return self.house.tenants["acme"]

    @property
    def got(self) -> Counter[str]:
        """The recipients that the upstream has, with how often."""
        self.house.collect()
        return Counter(got.recipient for got in self.house.sinks["acme"].ledger.mails)

    @property
    def told(self) -> Counter[str]:
        """The recipients that the client was told of, with how often."""
        return Counter(entry["recipient"] for entry in self.client.entries)

    async def ends(self, addresses: Sequence[str]) -> None:
        """Wait until each was sent once and told of once."""

        async def ended() -> bool:
            return len(self.got) >= len(addresses) and len(self.told) >= len(addresses)

        await until(ended, timeout_s=60, every_s=0.2)
        assert self.got == self.told == Counter(addresses)


@asynccontextmanager
async def stage(
    folder: Path, store: str, postgres: str, record: Callable[[str, object], None], **settings: str
) -> AsyncIterator[Stage]:
    """A node that is looked at while the block runs: it answers, and takes no more than is its."""
    async with House(folder, store, postgres=postgres, settings=settings) as house:
        node = house.nodes[0]
        client = await house.keep(FakeClient())
        await node.client.put("/tenant/acme", json={"client_base_url": client.url})
        assert node.process
        pid = node.process.pid
        forget_peak(pid)
        before = resident_bytes(pid)
        async with Watchman(node) as watchman:
            yield Stage(house, client)
        record("longest_wait_s", watchman.longest_s)
        record("more_bytes", peak_bytes(pid) - before)
        assert watchman.longest_s < LAG_S
        assert peak_bytes(pid) - before < BUDGET_BYTES


def addresses_of(count: int) -> list[str]:
    return [f"r{n}@sink.test" for n in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", stores(0))
async def test_by_rest_each_is_sent_to_once_and_told_of_once(
    store: str,
    tmp_path: Path,
    postgres_server: str,
    record_property: Callable[[str, object], None],
) -> None:
    addresses = addresses_of(RECIPIENTS)
    # Read back from the store, as after a restart.
    settings = {"PILLARBOX_DISPATCH_HANDOVER_MESSAGES": "0"}
    async with (
        stage(tmp_path, store, postgres_server, record_property, **settings) as it,
        it.house.as_tenant("acme") as rest,
    ):
        mails = [
            message(f"m{n}", it.tenancy, BODY * BODY_LINES)
            | {"to": addresses[n * OF_ONE_MAIL : (n + 1) * OF_ONE_MAIL]}
            for n in range(RECIPIENTS // OF_ONE_MAIL)
        ]
        answer = await rest.post("/commands/add-messages", json={"messages": mails}, timeout=30)
        assert (answer.status_code, answer.json()["queued"]) == (200, len(mails)), answer.text
        await it.ends(addresses)
        began_at = time.monotonic()
        shown = (await rest.get("/messages/m0", params={"tenant_id": "acme"})).json()
        record_property("shown_s", time.monotonic() - began_at)
        assert [each["status"] for each in shown["recipients"]] == ["sent"] * OF_ONE_MAIL
        listed = await rest.get("/messages", params={"tenant_id": "acme"})
        assert len(listed.json()["messages"]) == len(mails)


@pytest.mark.slow
async def test_one_more_than_a_mail_may_have_is_refused_with_what_is_wrong(
    tmp_path: Path, postgres_server: str, record_property: Callable[[str, object], None]
) -> None:
    async with (
        stage(tmp_path, STORES[0], postgres_server, record_property) as it,
        it.house.as_tenant("acme") as rest,
    ):
        mail = message("m", it.tenancy) | {"to": addresses_of(OF_ONE_MAIL + 1)}
        answer = await rest.post("/commands/add-messages", json={"messages": [mail]})
        assert answer.status_code == 400
        assert str(OF_ONE_MAIL) in answer.text


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("recipients", "cap"), BY_SMTP)
async def test_by_smtp_those_that_are_too_many_are_taken_when_they_are_given_again(
    recipients: int,
    cap: int,
    tmp_path: Path,
    postgres_server: str,
    record_property: Callable[[str, object], None],
) -> None:
    addresses = addresses_of(recipients)
    settings = {"PILLARBOX_SMTP_MAX_RECIPIENTS": str(cap)}
    async with stage(tmp_path, STORES[1], postgres_server, record_property, **settings) as it:
        rounds = await asyncio.to_thread(give, it.house.nodes[0].smtp_port, it.tenancy, addresses)
        assert rounds == recipients // cap
        await it.ends(addresses)


def give(port: int, tenancy: Tenancy, addresses: Sequence[str]) -> int:
    """Give one mail to all, by one connection; return how many times it was given."""
    mail = f"From: app@acme.test\r\nSubject: {tenancy.canary}\r\n\r\nhello\r\n"
    rounds, left = 0, list(addresses)
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as session:
        session.login(tenancy.username, tenancy.password)
        while left:
            refused = session.sendmail("app@acme.test", left, mail)
            assert {code for code, _ in refused.values()} <= {452}
            left = list(refused)
            rounds += 1
    return rounds
