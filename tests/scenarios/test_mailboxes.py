"""Mailboxes whose servers misbehave, and which node reads them. Those that behave: tests/peers."""

from dataclasses import replace
from typing import Any

import pytest

from relay.app import Node
from relay.store.instance import BounceMailbox
from relay.store.mailbox import INSTANCE
from relay.store.mailboxes import Standing
from tests.fakes.bounces import letter, returned
from tests.fakes.imap import DROP, HANG, FakeImap, Raw
from tests.fakes.pec import PecMail
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.waiting import until

QUICK: dict[str, Any] = {
    "mailboxes.poll_s": 0.2,
    "mailboxes.connect_timeout_s": 0.5,
    "mailboxes.command_timeout_s": 0.5,
    "mailboxes.rest_s": [0.1, 0.2],
}


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
    imap.add(letter(1), returned(upstream.received[-1]), letter(2))
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
    imap.add(returned(upstream.received[0]))
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
    imap.add(returned(upstream.received[-1]))
    await relay.settled(pk, "bounced")
    assert imap.asked("IDLE") == 0


async def test_mail_counted_anew_is_known_again(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    pk = await sent_mail(relay, upstream)
    imap.add(returned(upstream.received[-1]))
    await watch(relay, imap.bounce_mailbox())
    await relay.settled(pk, "bounced")
    imap.uid_validity = 2
    other = await sent_mail(relay, upstream, "carol@there.test")
    imap.add(returned(upstream.received[-1]))
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
    imap.add(letter(1, 3_000_000), returned(upstream.received[-1]) + b"x" * 3_000_000)
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
    await relay.account(upstream, is_pec_account=True, **imap.account_settings())
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
            await relay.account(upstream, name, **server.account_settings())

        async def both_read_often() -> bool:
            return min(one.asked("SEARCH"), two.asked("SEARCH")) > 2

        await until(both_read_often)
        assert one.open + two.open <= 1


async def test_a_bounce_in_a_tenants_mailbox_speaks_of_its_own_mail_only(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    await relay.tenant("rival")
    await relay.account(upstream, "theirs", "rival", **imap.account_settings())
    pk = await sent_mail(relay, upstream)
    imap.add(returned(upstream.received[-1]))

    async def is_met() -> bool:
        return b'mailbox_mails_total{outcome="unmatched"} 1.0' in relay.node.metrics.render()[0]

    await until(is_met)
    assert await relay.states(pk) == ["sent"]


async def test_a_change_of_an_account_is_followed_and_its_end_too(
    relay: Relay, upstream: FakeUpstream, imap: FakeImap
) -> None:
    account = await relay.account(upstream, **imap.account_settings())

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
