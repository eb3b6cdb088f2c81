"""Mail that comes back: from what the upstream received to what the client is told."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from relay.crypto import Keyring
from relay.errors import Refused
from relay.formats import verp
from relay.formats.bounce.read import read_bounce
from relay.model import Credential, SecretKind
from relay.store.bounces import MOST_EVENTS, Source, announce, record
from relay.store.instance import BounceMailbox, InstanceSettings
from relay.store.suppressions import SuppressionStore
from tests.fakes.bounces import bounce
from tests.fakes.client import FakeClient
from tests.fakes.upstream import LOCKSTEP, FakeUpstream, Received
from tests.scenarios.conftest import KEY, Relay, StartNode

KEYS = Keyring.from_text(KEY).derived(verp.PURPOSE)
SIGNED = re.compile(r"bounce\+[a-z2-7]{42}@bounces\.acme\.test")
RETURNS: Mapping[str, Any] = {"bounce_return_path": "bounces.acme.test"}
LOGIN = Credential("chained", "acme", SecretKind.SHA256, "")


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with FakeClient() as server:
        yield server


@dataclass
class Mailbox:
    """A mailbox of bounces, as far as what it does is concerned: the instance's, or a tenant's."""

    relay: Relay
    tenant_id: str | None = None

    async def takes(self, raw: bytes) -> str:
        node = self.relay.node
        source = Source(self.tenant_id, KEYS)
        now, seq = node.spool.now(), node.spool.next_seq(MOST_EVENTS)
        script = partial(record, read_bounce(raw), source, now, seq)
        recorded = await node.database.write(script)
        await announce(node.database, node.metrics, recorded)
        return recorded.verdict


async def sent(relay: Relay, upstream: FakeUpstream, *to: str, **changes: Any) -> Received:
    """Send a mail and return what the upstream received."""
    before = len(upstream.received)
    accepted = await relay.send(*to, **changes)
    received = (await upstream.wait_for(before + 1, 5))[-1]
    await relay.settled(accepted.pk, *["sent"] * len(to or (1,)))
    return received


def pk_of(mail: Received) -> str:
    found = re.search(rb"X-Pillarbox-ID: (\S+)\r\n", mail.content)
    assert found
    return found[1].decode()


def came_back(mail: Received, address: str = "bob@there.test", **more: str) -> bytes:
    return bounce(mail.sender, address, original=mail.content, **more)


# How a mail is recognised.


async def test_every_mail_carries_its_pk(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    accepted = await relay.send()
    [mail] = await upstream.wait_for(1, 5)
    assert pk_of(mail) == accepted.pk
    assert f"ENVID={accepted.pk}" in mail.mail_parameters
    assert mail.sender == "app@acme.test"


async def test_an_envelope_id_of_the_client_stays(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    mail = await sent(relay, upstream, envid="mine")
    assert "ENVID=mine" in mail.mail_parameters


async def test_an_account_with_an_address_of_its_own_keeps_the_pk_and_its_address(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream, rewrite_from="shop@provider.test")
    accepted = await relay.send()
    [mail] = await upstream.wait_for(1, 5)
    assert pk_of(mail) == accepted.pk
    assert mail.sender == "shop@provider.test"


async def test_mail_that_passes_two_relays_goes_on_by_its_own_id(
    relay: Relay, upstream: FakeUpstream
) -> None:
    """The pk of the first is no wish for an id: it comes again with each further recipient."""
    await relay.account(upstream)
    first = await sent(relay, upstream)
    for to in ("bob@there.test", "eve@there.test"):
        again = await sent(relay, upstream, to, content=first.content, credential=LOGIN)
        assert pk_of(again) != pk_of(first)
        assert again.content.count(b"X-Pillarbox-ID: ") == 1


async def test_bounces_come_back_to_a_signed_address_of_the_tenant(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream)
    accepted = await relay.send("bob@there.test", "eve@there.test")
    [mail] = await upstream.wait_for(1, 5)
    assert SIGNED.fullmatch(mail.sender)
    assert verp.read([mail.sender], KEYS) == verp.Reference(accepted.pk)
    assert (await relay.view(accepted.pk)).sender == "app@acme.test"
    alone = await sent(relay, upstream)
    assert verp.read([alone.sender], KEYS) == verp.Reference(pk_of(alone), 0)


async def test_an_instances_return_path_is_for_tenants_without_one_and_counts_at_once(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    assert (await sent(relay, upstream)).sender == "app@acme.test"
    settings = InstanceSettings(bounce=BounceMailbox(bounce_return_path="back@here.test"))
    await relay.node.stores.instance.change(lambda _stored: settings)
    assert re.fullmatch(r"back\+\w{42}@here\.test", (await sent(relay, upstream)).sender)
    await relay.tenant("acme", **RETURNS)
    assert SIGNED.fullmatch((await sent(relay, upstream)).sender)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"sender": ""}, ""), ({"keeps_sender": True}, "app@acme.test")],
    ids=["null sender", "named by the client"],
)
async def test_a_sender_that_must_stay_stays(
    relay: Relay, upstream: FakeUpstream, given: dict[str, Any], said: str
) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream)
    mail = await sent(relay, upstream, **given)
    assert mail.sender == said


async def test_certified_mail_leaves_from_the_address_it_is_certified_for(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream, is_pec_account=True)
    assert (await sent(relay, upstream)).sender == "app@acme.test"


async def test_a_mail_that_is_read_back_from_the_store_has_a_signed_address_too(
    start_node: StartNode,
) -> None:
    relay = await start_node(**{"dispatch.handover_messages": 0})
    async with FakeUpstream(extensions=LOCKSTEP) as upstream:
        await relay.tenant("acme", **RETURNS)
        await relay.account(upstream)
        assert SIGNED.fullmatch((await sent(relay, upstream)).sender)
        kept = await sent(relay, upstream, keeps_sender=True)
        assert kept.sender == "app@acme.test"


# What it does.


async def test_a_hard_bounce_is_reported_and_the_address_is_not_written_to_again(
    relay: Relay, upstream: FakeUpstream, client: FakeClient
) -> None:
    await relay.tenant("acme", client_base_url=client.url, **RETURNS)
    await relay.account(upstream)
    mail = await sent(relay, upstream, id="m1", metadata='{"order": 7}')
    await client.wait_for(lambda c: any("sent_ts" in e for e in c.entries))
    assert await Mailbox(relay).takes(came_back(mail)) == "hard"
    await client.wait_for(lambda c: any("bounce_ts" in e for e in c.entries))
    entry = client.entries[-1]
    assert entry["bounce_ts"] == pytest.approx(time.time(), abs=20)
    assert (entry["id"], entry["pk"], entry["recipient"]) == ("m1", pk_of(mail), "bob@there.test")
    assert (entry["bounce_type"], entry["bounce_code"]) == ("hard", "5.1.1")
    assert "no such user" in entry["bounce_reason"]
    assert (entry["code"], entry["account_id"]) == (550, "main")
    assert entry["metadata"] == {"order": 7}
    with pytest.raises(Refused, match="suppressed"):
        await relay.send()
    text = relay.node.metrics.render()[0].decode()
    assert 'pillarbox_bounces_total{type="hard"} 1.0' in text
    assert 'pillarbox_recipients_bounced_total{account="main",tenant="acme"} 1.0' in text


async def test_a_forged_bounce_changes_nothing(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream)
    mail = await sent(relay, upstream)
    strangers = Keyring([b"s" * 32]).derived(verp.PURPOSE)[0]
    path = verp.ReturnPath("bounce", "bounces.acme.test")
    forged = verp.signed(path, verp.Reference(pk_of(mail), 0), strangers)
    raw = bounce(forged, "bob@there.test", original=mail.content)
    assert await Mailbox(relay).takes(raw) == "forged"
    assert await relay.states(pk_of(mail)) == ["sent"]
    assert not await SuppressionStore(relay.node.database).covers("acme", "bob@there.test")


async def test_another_tenants_mailbox_changes_nothing(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("rival")
    await relay.account(upstream)
    mail = await sent(relay, upstream)
    assert await Mailbox(relay, "rival").takes(came_back(mail)) == "unmatched"
    assert await relay.states(pk_of(mail)) == ["sent"]
    assert await Mailbox(relay, "acme").takes(came_back(mail)) == "hard"
    assert await relay.states(pk_of(mail)) == ["bounced"]


async def test_without_a_return_path_the_header_of_the_returned_mail_says_which_it_was(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    mail = await sent(relay, upstream, "bob@there.test", "eve@there.test")
    assert await Mailbox(relay).takes(came_back(mail, "eve@there.test")) == "hard"
    assert await relay.states(pk_of(mail)) == ["sent", "bounced"]
    assert await Mailbox(relay).takes(came_back(mail, "eve@there.test")) == "duplicate"


async def test_the_clients_id_is_enough_where_it_was_sent_along(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(compat="genro")
    await relay.tenant("acme")
    await relay.account(upstream)
    mail = await sent(relay, upstream, id="order-7")
    head = b"X-Genro-Mail-ID: order-7\r\nSubject: hello\r\n\r\n"
    raw = bounce("bounces@here.test", "bob@there.test", original=head)
    assert await Mailbox(relay).takes(raw) == "hard"
    assert await relay.states(pk_of(mail)) == ["bounced"]


async def test_a_soft_bounce_ends_this_mail_but_not_the_address(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", **RETURNS)
    await relay.account(upstream)
    mail = await sent(relay, upstream)
    raw = came_back(mail, status="5.2.2", reply="552 5.2.2 mailbox full")
    assert await Mailbox(relay).takes(raw) == "soft"
    assert await relay.states(pk_of(mail)) == ["bounced"]
    assert (await sent(relay, upstream)).recipients == ("bob@there.test",)


async def test_only_the_others_get_a_mail_for_somebody_suppressed_too(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", suppression="forever")
    await relay.account(upstream)
    first = await sent(relay, upstream)
    await Mailbox(relay).takes(came_back(first))
    accepted = await relay.send("Bob@there.test", "eve@there.test")
    mail = (await upstream.wait_for(2, 5))[-1]
    assert mail.recipients == ("eve@there.test",)
    await relay.settled(accepted.pk, "failed", "sent")
    assert await relay.kinds(accepted.pk) == ["accepted", "suppressed", "sent"]
