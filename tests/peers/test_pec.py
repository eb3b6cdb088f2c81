"""Certified mail end to end: sent by SMTP, its receipts read in a real Dovecot, told and kept.

The provider is a sink that answers into the mailbox of its client with what the norm has it write.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from relay.model import Account
from relay.store.receipts import ReceiptView
from tests.fakes.client import FakeClient, Json
from tests.fakes.pec import AT, PecMail, daticert
from tests.fakes.upstream import FakeUpstream
from tests.peers.dovecot import Dovecot
from tests.scenarios.conftest import Relay, open_node
from tests.waiting import until

pytestmark = pytest.mark.peers("dovecot")

QUICK: dict[str, Any] = {"callback.poll_s": 0.05, "mailboxes.poll_s": 0.2}
BOB, ANN = "bob@pec.test", "ann@pec.test"
BOTH = (BOB, ANN)


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with FakeClient() as server:
        yield server


Start = Callable[[], Awaitable[Relay]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start nodes on one database, one after another."""
    relays: list[Relay] = []

    async def start() -> Relay:
        url = f"sqlite:{tmp_path / 'pillarbox.db'}"
        relays.append(Relay(await open_node(tmp_path / "home", url, **QUICK)))
        await relays[-1].node.start()
        return relays[-1]

    yield start
    for relay in relays:
        await relay.stop()


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


class Provider:
    """A provider of certified mail, with the mailbox of its one client."""

    def __init__(self, upstream: FakeUpstream, dovecot: Dovecot, user: str) -> None:
        self.upstream = upstream
        self._dovecot = dovecot
        self._user = user
        self._numbers = count(1)

    def settings(self) -> dict[str, Any]:
        return {"is_pec_account": True, **self._dovecot.settings(self._user)}

    def about(self) -> str:
        """Return the Message-ID of the mail that came last."""
        content = self.upstream.received[-1].content
        return content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()

    def answer(self, kind: str, **more: Any) -> bytes:
        """Put a receipt about that mail into the mailbox; return it as it was delivered."""
        given = {"recipients": BOTH, "own_id": f"<r{next(self._numbers)}@gestore.test>", **more}
        self.deliver(PecMail(kind, about=self.about(), **given).build())
        return self.stored()[-1]

    def deliver(self, *mails: bytes) -> None:
        self._dovecot.deliver(self._user, *mails)

    def stored(self) -> list[bytes]:
        with self._dovecot.client(self._user) as imap:
            imap.select("INBOX", readonly=True)
            lines = imap.fetch("1:*", "(BODY.PEEK[])")[1]
        return [line[1] for line in lines if isinstance(line, tuple)]

    def flags(self) -> list[set[str]]:
        return self._dovecot.flags(self._user)


@pytest.fixture
def provider(upstream: FakeUpstream, dovecot: Dovecot, request: pytest.FixtureRequest) -> Provider:
    name = "".join(char for char in request.node.name if char.isalnum())[-40:]
    return Provider(upstream, dovecot, name.lower())


async def account(relay: Relay, provider: Provider, tenant_id: str = "acme") -> Account:
    settings = provider.settings()
    return await relay.account(provider.upstream, tenant_id=tenant_id, **settings)


def pec_entries(client: FakeClient) -> list[Json]:
    return [e for call in client.calls for e in call.entries if "pec_event" in e]


async def receipts(relay: Relay, pk: str, least: int) -> list[ReceiptView]:
    """Wait until so many receipts of a mail are kept."""
    kept = relay.node.stores.receipts

    async def have_come() -> bool:
        return len(await kept.of("acme", pk)) >= least

    await until(have_come)
    return await kept.of("acme", pk)


async def test_each_receipt_is_told_of_its_recipient_and_kept_as_it_came(
    start: Start, provider: Provider, client: FakeClient
) -> None:
    relay = await start()
    await relay.tenant("acme", client_base_url=client.url)
    await account(relay, provider)
    accepted = await relay.send(*BOTH)
    await relay.settled(accepted.pk, "sent", "sent")
    why = "5.1.1 - Gestore - indirizzo non valido"
    came = [
        provider.answer("accettazione"),
        provider.answer("avvenuta-consegna", reached=(ANN,), original=b"Subject: Atto\r\n\r\nx"),
        provider.answer("errore-consegna", reached=(BOB,), error="no-dest", detail=why),
    ]
    await relay.settled(accepted.pk, "bounced", "sent")
    await client.wait_for(lambda c: len(pec_entries(c)) >= 4)
    told = [(e["pec_event"], e["recipient"], e["pec_ts"]) for e in pec_entries(client)]
    at = int(AT)
    assert told == [
        ("pec_acceptance", BOB, at),
        ("pec_acceptance", ANN, at),
        ("pec_delivery", ANN, at),
        ("pec_error", BOB, at),
    ]
    assert pec_entries(client)[-1]["pec_details"] == f"errore-consegna (no-dest): {why}"
    for number, raw in enumerate(came, 1):
        assert await relay.node.stores.receipts.body("acme", accepted.pk, number) == raw
    # They are proof: they stay in the mailbox as they came.
    assert provider.flags() == [set(), set(), set()]


async def test_what_is_no_receipt_of_ours_does_nothing(start: Start, provider: Provider) -> None:
    relay = await start()
    await relay.tenant("acme")
    await account(relay, provider)
    accepted = await relay.send(*BOTH)
    await relay.settled(accepted.pk, "sent", "sent")
    about, transported = provider.about(), {"X-Trasporto": "posta-certificata"}
    refusal = PecMail("non-accettazione", about=about)
    provider.deliver(
        PecMail("non-accettazione", about=about, headers=transported).build(),
        PecMail(None, about=about, headers={"X-Trasporto": "errore"}).build(),
        PecMail(None, xml=None, original=refusal.build()).build(),
        PecMail("non-accettazione", about="<of-another@acme.test>").build(),
        PecMail("accettazione", about=about, xml=daticert("posta-certificata", about)).build(),
    )
    provider.answer("presa-in-carico", reached=(ANN,))
    [relayed] = await receipts(relay, accepted.pk, 1)
    assert relayed.kind == "presa-in-carico"
    assert [k for k in await relay.kinds(accepted.pk) if k.startswith("pec_")] == ["pec_relay"]
    assert await relay.states(accepted.pk) == ["sent", "sent"]


async def test_receipts_count_once_over_restarts_and_for_their_own_tenant_only(
    start: Start, provider: Provider
) -> None:
    relay = await start()
    for tenant_id in ("acme", "rival"):
        await relay.tenant(tenant_id)
    await account(relay, provider)
    accepted = await relay.send(*BOTH)
    await relay.settled(accepted.pk, "sent", "sent")
    provider.answer("accettazione")
    await receipts(relay, accepted.pk, 1)
    await relay.stop()
    provider.answer("avvenuta-consegna", reached=BOTH)
    relay = await start()
    # The same mailbox, of another tenant's account.
    await account(relay, provider, "rival")
    await receipts(relay, accepted.pk, 2)
    assert [k for k in await relay.kinds(accepted.pk) if k.startswith("pec_")] == [
        *["pec_acceptance"] * 2,
        *["pec_delivery"] * 2,
    ]

    async def rivals_is_read() -> bool:
        rows = await relay.node.database.fetch(
            "SELECT last_uid FROM mailboxes WHERE tenant_id = 'rival'"
        )
        return [row["last_uid"] for row in rows] == [2]

    await until(rivals_is_read)
    rows = await relay.node.database.fetch("SELECT tenant_id FROM receipts")
    assert [row["tenant_id"] for row in rows] == ["acme", "acme"]
