"""Mailboxes whose servers misbehave, and which node reads them. Those that behave: tests/peers."""

from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from relay.app import Node
from relay.store.instance import BounceMailbox
from relay.store.mailboxes import INSTANCE, Standing
from tests.fakes.bounces import bounce, letter
from tests.fakes.imap import DROP, HANG, FakeImap, Raw
from tests.fakes.pec import PecMail
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.conftest import Relay, StartNode, open_node
from tests.waiting import until

QUICK: dict[str, Any] = {
    "mailboxes.poll_s": 0.2,
    "mailboxes.connect_timeout_s": 0.5,
    "mailboxes.command_timeout_s": 0.5,
    "mailboxes.rest_s": [0.1, 0.2],
}

BOUNCES = 60
MAIL = {
    "tenant_id": "acme",
    "account_id": "main",
    "from": "a@acme.test",
    "to": "bob@there.test",
    "subject": "Hello",
    "body": "Hi",
}


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with FakeImap() as server:
        yield server


@pytest.fixture
async def relay(start_node: StartNode) -> Relay:
    relay = await start_node(**QUICK)
    await relay.tenant("acme")
    return relay


async def watch(relay: Relay, mailbox: BounceMailbox) -> None:
    """Set the mailbox of the instance."""
    instance = relay.node.stores.instance
    await instance.change(lambda settings: replace(settings, bounce=mailbox))


async def sent_mail(relay: Relay, upstream: FakeUpstream, to: str = "bob@there.test") -> str:
    """Send a mail, and return its pk once the upstream has it."""
    await relay.account(upstream)
    accepted = await relay.send(to)
    await relay.settled(accepted.pk, "sent")
    return accepted.pk


def returned(upstream: FakeUpstream, mail: int = -1) -> bytes:
    """Return the hard bounce of a mail that the upstream took."""
    received = upstream.received[mail]
    return bounce(received.sender, received.recipients[0], original=received.content)


async def standing(node: Node) -> Standing:
    found = await node.stores.mailboxes.standing(INSTANCE)
    assert found
    return found


async def fails_with(relay: Relay, text: str) -> None:
    """Wait until the mailbox is known to be in trouble, for this reason."""

    async def told() -> bool:
        found = await relay.node.stores.mailboxes.troubled()
        return any(text in (each.error or "") for each in found)

    await until(told)


async def test_a_bounce_in_the_mailbox_makes_its_recipient_bounced(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    pk = await sent_mail(relay, upstream)
    imap.add(letter(1), returned(upstream), letter(2))
    await watch(relay, imap.bounce_mailbox())
    await relay.settled(pk, "bounced")

    async def is_marked() -> bool:
        return [kept.flags for kept in imap.mails.values()] == [set(), {r"\Seen"}, set()]

    await until(is_marked)
    assert (await standing(relay.node)).failures == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("moment", "action", "reason"),
    [
        ("GREETING", HANG, "greeting: no answer in 0.5 s"),
        ("GREETING", Raw(b"* BYE full\r\n"), "does not take us: * BYE full"),
        ("GREETING", DROP, "connection lost"),
        ("LOGIN", HANG, "LOGIN: no answer in"),
        ("LOGIN", Raw(b"* ? \r\n" * 20_000), "more than it was asked"),
        ("CAPABILITY", Raw(b"x OK\r\n"), "CAPABILITY"),
        ("SELECT", Raw(b"* 3 EXISTS\r\n" * 4000), "SELECT: no answer in"),
        ("SEARCH", Raw(b"* SEARCH" + b" 7" * 3_000_000 + b"\r\n"), "more than it was asked"),
        ("FETCH", HANG, "FETCH: no answer in"),
        ("FETCH", DROP, "connection lost"),
        ("FETCH", Raw(b"* 1 FETCH (UID 1 BODY[]<0> {100000000}\r\nabc", drop=True), "lost"),
        ("FETCH", Raw(b"* 1 FETCH (UID 1 BODY[]<0> {100000000}\r\nabc"), "no answer in"),
        ("FETCH", Raw(b"* 1 FETCH (UID 1 {100000000}\r\n" + b"x" * 400_000), "more than it was"),
        ("FETCH", Raw(b"* 1 FETCH (\r\n)))))\r\n\xff\xfe {" + b"9" * 5000 + b"}\r\n"), "FETCH"),
        ("IDLE", HANG, "IDLE: no answer in 0.5 s"),
        ("IDLE", DROP, "IDLE: connection lost"),
        ("IDLE", Raw(b"+ ok\r\n" + b"* 1 EXISTS\r\n" * 9000), "IDLE"),
    ],
)
async def test_a_server_that_misbehaves_is_left_and_tried_again_while_mail_goes_out(
    relay: Relay,
    upstream: FakeUpstream,
    imap: FakeImap,
    moment: str,
    action: Any,
    reason: str,
) -> None:
    pk = await sent_mail(relay, upstream)
    imap.add(letter(1))
    imap.on[moment] = action
    await watch(relay, imap.bounce_mailbox())
    await fails_with(relay, reason)
    again = await relay.send("carol@there.test")
    await relay.settled(again.pk, "sent")
    del imap.on[moment]
    imap.add(returned(upstream, 0))
    await relay.settled(pk, "bounced")
    assert await relay.kinds(pk) == ["accepted", "sent", "bounced"]


async def test_a_server_without_idle_is_asked_again_and_again(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    imap.capabilities = ("IMAP4rev1",)
    pk = await sent_mail(relay, upstream)
    await watch(relay, imap.bounce_mailbox())

    async def has_looked() -> bool:
        return imap.asked("SEARCH") > 0

    await until(has_looked)
    imap.add(returned(upstream))
    await relay.settled(pk, "bounced")
    assert imap.asked("IDLE") == 0


async def test_mail_counted_anew_is_known_again(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    pk = await sent_mail(relay, upstream)
    imap.add(returned(upstream))
    await watch(relay, imap.bounce_mailbox())
    await relay.settled(pk, "bounced")
    imap.uid_validity = 2
    other = await sent_mail(relay, upstream, "carol@there.test")
    imap.add(returned(upstream))
    await relay.settled(other, "bounced")
    assert await relay.kinds(pk) == ["accepted", "sent", "bounced"]
    body = relay.node.metrics.render()[0].decode()
    assert 'pillarbox_mailbox_mails_total{outcome="known"} 1.0' in body
    assert 'pillarbox_mailbox_mails_total{outcome="handled"} 2.0' in body


async def test_what_cannot_be_read_is_put_aside_and_stands_in_nobodys_way(
    start_node: StartNode, upstream: FakeUpstream, imap: FakeImap
) -> None:
    relay = await start_node(**QUICK, **{"mailboxes.read_timeout_s": 0.0001})
    await relay.tenant("acme")
    imap.add(letter(1), letter(2))
    await watch(relay, imap.bounce_mailbox())

    async def is_flagged() -> bool:
        return [kept.flags for kept in imap.mails.values()] == [{r"\Flagged"}, {r"\Flagged"}]

    await until(is_flagged)
    body = relay.node.metrics.render()[0].decode()
    assert 'pillarbox_mailbox_mails_total{outcome="unreadable"} 2.0' in body
    assert (await standing(relay.node)).failures == 0


async def test_a_large_mail_is_read_in_part(
    start_node: StartNode, upstream: FakeUpstream, imap: FakeImap
) -> None:
    relay = await start_node(**QUICK, **{"mailboxes.max_bytes": 20_000})
    await relay.tenant("acme")
    pk = await sent_mail(relay, upstream)
    imap.add(letter(1, 3_000_000), returned(upstream) + b"x" * 3_000_000)
    await watch(relay, imap.bounce_mailbox())
    await relay.settled(pk, "bounced")


async def test_a_reload_looks_at_once_into_a_mailbox_that_rests(
    start_node: StartNode, imap: FakeImap
) -> None:
    relay = await start_node(**(QUICK | {"mailboxes.rest_s": [3000, 3000]}))
    imap.on["SELECT"] = DROP
    await watch(relay, imap.bounce_mailbox())
    await fails_with(relay, "SELECT")
    del imap.on["SELECT"]
    await relay.node.stores.mailboxes.make_due()

    async def is_well() -> bool:
        return (await standing(relay.node)).looked_at is not None

    await until(is_well)
    assert await relay.node.stores.mailboxes.troubled() == []


async def test_a_receipt_that_is_cut_is_fetched_and_kept_whole(
    start_node: StartNode, upstream: FakeUpstream, imap: FakeImap
) -> None:
    relay = await start_node(**QUICK, **{"mailboxes.max_bytes": 3000})
    await relay.tenant("acme")
    await relay.account(upstream, is_pec_account=True, **imap_of(imap))
    accepted = await relay.send("bob@pec.test")
    await relay.settled(accepted.pk, "sent")
    own_id = next(
        line.partition(b":")[2].strip().decode()
        for line in upstream.received[0].content.splitlines()
        if line.lower().startswith(b"message-id:")
    )
    receipt = PecMail("accettazione", about=own_id, recipients=("bob@pec.test",)).build()
    receipt += b"x" * 500_000
    imap.add(receipt)

    async def is_told() -> bool:
        return "pec_acceptance" in await relay.kinds(accepted.pk)

    await until(is_told)
    [row] = await relay.node.database.fetch("SELECT body FROM receipts")
    assert bytes(row["body"]) == receipt
    assert imap.mails[1].flags == set()


async def test_where_there_is_no_room_mailboxes_take_turns(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**QUICK, **{"mailboxes.max_mailboxes": 1})
    await relay.tenant("acme")
    async with FakeImap() as one, FakeImap() as two:
        for name, server in (("one", one), ("two", two)):
            await relay.account(upstream, name, **imap_of(server))

        async def both_read_often() -> bool:
            return min(one.asked("SEARCH"), two.asked("SEARCH")) > 2

        await until(both_read_often)
        assert one.open + two.open <= 1


async def test_a_bounce_in_a_tenants_mailbox_speaks_of_its_own_mail_only(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    await relay.tenant("rival")
    await relay.account(upstream, "theirs", "rival", **imap_of(imap))
    pk = await sent_mail(relay, upstream)
    imap.add(returned(upstream))

    async def is_met() -> bool:
        return b'mailbox_mails_total{outcome="unmatched"} 1.0' in relay.node.metrics.render()[0]

    await until(is_met)
    assert await relay.states(pk) == ["sent"]


async def test_a_change_of_an_account_is_followed_and_its_end_too(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    account = await relay.account(upstream, **imap_of(imap))

    async def is_open() -> bool:
        return imap.open == 1

    await until(is_open)
    async with FakeImap() as other:
        await relay.node.stores.accounts.save(replace(account, imap_port=other.port))

        async def has_moved() -> bool:
            return (imap.open, other.open) == (0, 1)

        await until(has_moved)
        await relay.node.stores.accounts.delete("acme", "main")

        async def is_left() -> bool:
            return other.open == 0

        await until(is_left)


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
        imap.add(returned(upstream))
        await one.settled(pk, "bounced")
        reader_epoch = (await one.node.database.fetch("SELECT owner FROM mailboxes"))[0]["owner"]
        first = one if one.node.spool.epoch == reader_epoch else two
        second = two if first is one else one
        assert imap.connections == 1
        other = await sent_mail(second, upstream, "carol@there.test")
        await first.stop()
        imap.add(returned(upstream))
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
        imap.add(*(returned(upstream, n) for n in range(BOUNCES)))
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
            imap.add(returned(upstream))

            async def is_bounced() -> bool:
                answer = await two.client.get("/messages/m1?tenant_id=acme")
                return bool(answer.json()["bounce_type"] == "hard")

            await until(is_bounced, timeout_s=30)
            assert imap.connections == 2


def imap_of(server: FakeImap) -> dict[str, Any]:
    """Return what an account needs to have this mailbox."""
    return {
        "imap_host": "127.0.0.1",
        "imap_port": server.port,
        "imap_user": "theirs",
        "imap_password": "secret",
        "imap_ssl": False,
    }
