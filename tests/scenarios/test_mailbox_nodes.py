"""Which node reads a mailbox, and what becomes of it when that one stops or is killed."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.bounces import returned
from tests.fakes.imap import FakeImap
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.conftest import Relay, open_node
from tests.scenarios.test_mailboxes import QUICK, sent_mail, watch
from tests.waiting import until

BOUNCES = 60
MAIL = {
    "tenant_id": "acme",
    "account_id": "main",
    "from": "a@acme.test",
    "to": "bob@there.test",
    "subject": "Hello",
    "body": "Hi",
}


async def test_two_nodes_never_both_read_a_mailbox_and_one_that_stops_is_followed_by_the_other(
    postgres_dsn: str, tmp_path: Path, upstream: FakeUpstream, imap: FakeImap
) -> None:
    relays = []
    for name in ("one", "two"):
        node = await open_node(tmp_path / "home", postgres_dsn, name=name, **QUICK)
        await node.start()
        relays.append(Relay(node))
    one, two = relays
    try:
        await one.tenant("acme")
        pk = await sent_mail(one, upstream)
        await watch(one, imap.bounce_mailbox())
        imap.add(returned(upstream.received[-1]))
        await one.settled(pk, "bounced")
        reader_epoch = (await one.node.database.fetch("SELECT owner FROM mailboxes"))[0]["owner"]
        first = one if one.node.spool.epoch == reader_epoch else two
        second = two if first is one else one
        assert imap.connections == 1
        other = await sent_mail(second, upstream, "carol@there.test")
        await first.stop()
        imap.add(returned(upstream.received[-1]))
        await second.settled(other, "bounced")
        assert imap.connections == 2
        assert await second.kinds(pk) == ["accepted", "sent", "bounced"]
    finally:
        for relay in relays:
            await relay.stop()


@pytest.mark.slow
async def test_mail_that_came_back_acts_once_however_often_the_relay_is_killed(
    tmp_path: Path, upstream: FakeUpstream, imap: FakeImap
) -> None:
    node = ServeProcess(tmp_path / "one", f"sqlite:{tmp_path / 'pillarbox.db'}")
    async with node:
        await set_up(node, upstream, imap)
        mails = [{**MAIL, "id": f"m{n}", "to": f"to{n}@there.test"} for n in range(BOUNCES)]
        await node.post("/commands/add-messages", {"messages": mails})
        await upstream.wait_for(BOUNCES)
        imap.add(*(returned(upstream.received[n]) for n in range(BOUNCES)))
        for least in (1, BOUNCES // 3, BOUNCES // 2):
            await until(partial(has_bounced, node, least), timeout_s=30)
            await node.kill()
            await node.start()
        await until(partial(has_bounced, node, BOUNCES), timeout_s=30)
        assert sorted(await bounced(node)) == sorted(f"m{n}" for n in range(BOUNCES))


async def bounced(node: ServeProcess) -> list[str]:
    """Return whose bounces were told, each as often as it was."""
    events = (await node.client.get("/events?tenant_id=acme")).json()["events"]
    return [event["id"] for event in events if "bounce_ts" in event]


async def has_bounced(node: ServeProcess, least: int) -> bool:
    return len(await bounced(node)) >= least


async def set_up(node: ServeProcess, upstream: FakeUpstream, imap: FakeImap) -> None:
    """Make a tenant with an account, and the mailbox of the instance."""
    await node.post("/tenant", {"id": "acme", "name": "Acme"})
    account = {"id": "main", "host": "127.0.0.1", "port": upstream.port, "use_tls": False}
    await node.post("/account", {**account, "tenant_id": "acme"})
    mailbox = asdict(imap.bounce_mailbox())
    assert (await node.client.put("/instance", json=mailbox)).status_code == 200


async def test_the_mailbox_of_a_node_that_was_killed_is_taken_over(
    postgres_dsn: str, tmp_path: Path, upstream: FakeUpstream, imap: FakeImap
) -> None:
    settings = {"PILLARBOX_DISPATCH_LEASE_S": "2", "PILLARBOX_DISPATCH_POLL_S": "0.2"}
    one = ServeProcess(tmp_path / "one", postgres_dsn, **settings)
    two = ServeProcess(tmp_path / "two", postgres_dsn, **settings)
    async with one:
        await set_up(one, upstream, imap)

        async def is_read() -> bool:
            return imap.open == 1

        await until(is_read)
        async with two:
            await one.post("/commands/add-messages", {"messages": [{**MAIL, "id": "m1"}]})
            await upstream.wait_for(1)
            await one.kill()
            imap.add(returned(upstream.received[-1]))

            async def is_bounced() -> bool:
                answer = await two.client.get("/messages/m1?tenant_id=acme")
                return bool(answer.json()["bounce_type"] == "hard")

            await until(is_bounced, timeout_s=30)
            assert imap.connections == 2
