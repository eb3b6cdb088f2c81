"""An account cannot be used: it rests and says why, none of its mail pays an attempt or is said to
anybody who is not who he should be, and all of it leaves once when the fault is over.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.faults.account_cases import ACCOUNT_CASES, CA, AccountCase
from tests.faults.outside import Outside, outside, transactions
from tests.waiting import until

MAILS = 20
CONNECTIONS = 5


@pytest.fixture
async def relay(case: AccountCase, database_url: str, tmp_path: Path) -> AsyncIterator[Outside]:
    async with outside(tmp_path / "home", database_url, case.settings) as relay:
        yield relay


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.mark.parametrize("case", ACCOUNT_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_account_that_cannot_be_used_costs_no_mail_an_attempt(
    case: AccountCase, relay: Outside, ca_file: str
) -> None:
    async with FakeUpstream(on=case.on, **case.upstream) as upstream:  # type: ignore[arg-type] # the table names its arguments
        settings = {"ca_file": ca_file, "max_connections": CONNECTIONS, **case.account}
        await relay.account(upstream.port, **settings)
        names = [f"m{n}" for n in range(MAILS)]
        for name in names:
            await relay.give("rest", name, [f"{name}@there.test"])
        assert (await relay.trouble()).startswith(case.reason)
        await check_waits(case, relay)
        check_nothing_said(upstream)
        upstream.on.clear()
        await relay.account(upstream.port, **{**settings, **case.cure})
        for name in names:
            await check_sent_at_once(relay, name)
        await relay.no_trouble()
        assert sorted(mail.recipients[0] for mail in upstream.received) == sorted(
            f"{name}@there.test" for name in names
        )


async def check_waits(case: AccountCase, relay: Outside) -> None:
    last = f"m{MAILS - 1}"

    async def waits() -> bool:
        return case.reason in str((await relay.record(last))["waiting_for"])

    await until(waits, timeout_s=3)
    record = await relay.record(last)
    assert (record["status"], record["attempts"]) == ("queued", [])


def check_nothing_said(upstream: FakeUpstream) -> None:
    assert transactions(upstream) == 0
    # Each connection tries one login, and the account is not locked by all of them at once.
    logins = [command for command in upstream.commands if command.startswith("AUTH")]
    assert len(logins) <= 2
    assert upstream.connections <= CONNECTIONS + 2


async def check_sent_at_once(relay: Outside, name: str) -> None:
    record = await relay.ends(name)
    [recipient] = record["recipients"]
    assert (recipient["status"], recipient["attempts"]) == ("sent", 1)
    assert [e["event"] for e in record["events"]] == ["accepted", "sent"]
    [entry] = await relay.told(name, f"{name}@there.test", 1)
    assert (entry["code"], "possible_duplicate" in entry) == (250, False)
