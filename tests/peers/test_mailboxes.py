"""Mail that comes back to a real mailbox: Dovecot, in clear and inside TLS."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest

from relay.formats.address import domain_of
from relay.store.instance import BounceMailbox
from relay.store.mailbox import INSTANCE
from tests.fakes.bounces import bounce, letter, letters, returned
from tests.fakes.pec import PecMail
from tests.fakes.upstream import FakeUpstream, Received
from tests.peers.dovecot import PASSWORD, Dovecot
from tests.scenarios.conftest import Relay, open_node
from tests.waiting import until

pytestmark = pytest.mark.peers("dovecot")

UNRELATED = 3000
MOST_BYTES = 25 * 1024 * 1024
USERS = (f"bounces{n}" for n in count(1))
QUICK = {"mailboxes.rest_s": [0.1, 0.3], "mailboxes.command_timeout_s": 5}


@dataclass
class Office:
    """A relay whose bounces come to a mailbox of the Dovecot that is its own."""

    relay: Relay
    upstream: FakeUpstream
    dovecot: Dovecot
    user: str
    folder: Path

    async def watch(self, **changes: Any) -> None:
        """Set the mailbox of the instance, and reload it."""
        mailbox = BounceMailbox(
            bounce_enabled=True,
            bounce_imap_host="127.0.0.1",
            bounce_imap_port=self.dovecot.port,
            bounce_imap_user=self.user,
            bounce_imap_password=PASSWORD,
            bounce_imap_ssl=False,
            bounce_poll_interval=2,
            bounce_return_path=f"{self.user}@mail.test",
        )
        stores = self.relay.node.stores
        bounce = replace(mailbox, **changes)
        await stores.instance.change(lambda settings: replace(settings, bounce=bounce))
        await stores.mailboxes.make_due()

    async def send(self, to: str = "bob@there.test") -> tuple[str, Received]:
        """Send a mail; return its pk, and what the upstream got."""
        accepted = await self.relay.send(to)
        await self.relay.settled(accepted.pk, "sent")
        return accepted.pk, self.upstream.received[-1]

    def deliver(self, *mails: bytes) -> None:
        self.dovecot.deliver(self.user, *mails)

    async def was_looked_into(self, key: tuple[str, str] = INSTANCE) -> None:
        async def looked() -> bool:
            standing = await self.relay.node.stores.mailboxes.standing(key)
            return standing is not None and standing.looked_at is not None and not standing.failures

        await until(looked)

    async def counted(self, outcome: str, mails: int, timeout_s: float = 15) -> None:
        """Wait until so many mails were met with this outcome."""
        line = f'pillarbox_mailbox_mails_total{{outcome="{outcome}"}} {mails}.0'

        async def is_counted() -> bool:
            return line in self.relay.node.metrics.render()[0].decode()

        await until(is_counted, timeout_s=timeout_s, every_s=0.05)

    async def restart(self) -> None:
        await self.relay.stop()
        self.relay = await opened(self.folder)


async def opened(folder: Path, **settings: object) -> Relay:
    url = f"sqlite:{folder / 'pillarbox.db'}"
    node = await open_node(folder / "home", url, **(QUICK | settings))
    await node.start()
    return Relay(node)


@pytest.fixture
async def office(dovecot: Dovecot, tmp_path: Path) -> AsyncIterator[Office]:
    user = next(USERS)
    relay = await opened(tmp_path)
    async with FakeUpstream() as upstream:
        office = Office(relay, upstream, dovecot, user, tmp_path)
        await relay.tenant("acme")
        await relay.account(upstream)
        yield office
        await office.relay.stop()


async def test_a_hard_bounce_and_a_soft_one_are_told_apart(office: Office) -> None:
    await office.watch()
    hard_pk, hard = await office.send("gone@there.test")
    soft_pk, soft = await office.send("full@there.test")
    assert domain_of(hard.sender) == "mail.test"
    office.deliver(
        returned(hard), returned(soft, status="5.2.2", reply="552 5.2.2 mailbox full"), letter(1)
    )
    found = {}
    for pk in (hard_pk, soft_pk):
        found[pk] = (await office.relay.settled(pk, "bounced")).recipients[0]
    assert (found[hard_pk].bounce_type, found[hard_pk].bounce_code) == ("hard", "5.1.1")
    assert found[soft_pk].bounce_type == "soft"
    await office.counted("handled", 2)

    async def is_marked() -> bool:
        return office.dovecot.flags(office.user) == [{r"\Seen"}, {r"\Seen"}, set()]

    await until(is_marked, every_s=0.1)


async def test_a_forged_bounce_changes_nothing_and_is_counted(office: Office) -> None:
    await office.watch()
    pk, mail = await office.send()
    local, _, domain = mail.sender.rpartition("@")
    forged = f"{local[:-4]}{'aaaa' if local[-4:] != 'aaaa' else 'bbbb'}@{domain}"
    office.deliver(bounce(forged, "bob@there.test", original=mail.content))
    await office.counted("unmatched", 1)
    assert await office.relay.states(pk) == ["sent"]
    body = office.relay.node.metrics.render()[0].decode()
    assert 'pillarbox_bounces_total{type="forged"} 1.0' in body


async def test_a_bounce_that_comes_twice_is_told_once(office: Office) -> None:
    await office.watch()
    pk, mail = await office.send()
    office.deliver(returned(mail), returned(mail))
    await office.counted("handled", 2)
    assert await office.relay.kinds(pk) == ["accepted", "sent", "bounced"]


async def test_a_push_of_the_server_is_heard_at_once(office: Office) -> None:
    await office.watch(bounce_poll_interval=3600)
    await office.was_looked_into()
    pk, mail = await office.send()
    started = time.monotonic()
    await asyncio.to_thread(office.deliver, returned(mail))
    await office.relay.settled(pk, "bounced")
    assert time.monotonic() - started < 5


async def test_a_restart_reads_on_where_it_was(office: Office) -> None:
    await office.watch()
    pk, mail = await office.send()
    office.deliver(letter(1), returned(mail))
    await office.relay.settled(pk, "bounced")
    await office.counted("unrelated", 1)
    await office.restart()
    again_pk, again = await office.send("carol@there.test")
    office.deliver(returned(again))
    await office.relay.settled(again_pk, "bounced")
    assert await office.relay.kinds(pk) == ["accepted", "sent", "bounced"]
    body = office.relay.node.metrics.render()[0].decode()
    assert "unrelated" not in body
    assert "known" not in body


async def test_mail_that_is_counted_anew_is_not_acted_on_again(office: Office) -> None:
    await office.watch()
    pk, mail = await office.send()
    office.deliver(letter(1), returned(mail))
    await office.relay.settled(pk, "bounced")
    await office.counted("unrelated", 1)
    await asyncio.to_thread(office.dovecot.stop)
    office.dovecot.renumber(office.user)
    await asyncio.to_thread(office.dovecot.start)
    again_pk, again = await office.send("carol@there.test")
    office.deliver(returned(again))
    await office.relay.settled(again_pk, "bounced")
    await office.counted("known", 1)
    await office.counted("unrelated", 2)
    assert await office.relay.kinds(pk) == ["accepted", "sent", "bounced"]


async def test_a_server_that_is_down_for_a_while_touches_no_mail_that_goes_out(
    office: Office,
) -> None:
    await office.watch()
    await office.was_looked_into()
    await asyncio.to_thread(office.dovecot.stop)
    try:

        async def is_told() -> bool:
            return bool(await office.relay.node.stores.mailboxes.troubled())

        await until(is_told)
        pk, mail = await office.send()
    finally:
        await asyncio.to_thread(office.dovecot.start)
    office.deliver(returned(mail))
    await office.relay.settled(pk, "bounced")
    await office.was_looked_into()


async def test_another_mailbox_is_read_after_a_reload_without_a_restart(office: Office) -> None:
    await office.watch(bounce_imap_password="wrong", bounce_poll_interval=3600)

    async def is_refused() -> bool:
        found = await office.relay.node.stores.mailboxes.troubled()
        return any("AUTHENTICATIONFAILED" in (each.error or "") for each in found)

    await until(is_refused)
    pk, mail = await office.send()
    office.deliver(returned(mail))
    await office.watch(bounce_poll_interval=3600)
    await office.relay.settled(pk, "bounced")
    await office.was_looked_into()


@pytest.mark.slow
async def test_three_thousand_letters_are_passed_in_little_time_and_memory(
    office: Office,
) -> None:
    pk, mail = await office.send()
    pile = chain(letters(UNRELATED, size_bytes=20_000), [returned(mail)])
    await asyncio.to_thread(office.dovecot.pile_up, office.user, pile)
    before = resident_bytes()
    started = time.monotonic()
    await office.watch()
    await office.relay.settled(pk, "bounced", timeout_s=60)
    await office.counted("unrelated", UNRELATED, timeout_s=60)
    assert time.monotonic() - started < 60
    assert resident_bytes() - before < MOST_BYTES


def resident_bytes() -> int:
    """Return the memory this process holds now, not at its peak."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.parametrize(
    ("handled", "left", "elsewhere"),
    [("move", [set()], [set()]), ("delete", [set()], None), ("keep", [set(), set()], None)],
)
async def test_what_was_handled_is_moved_deleted_or_kept_and_the_rest_left(
    office: Office, handled: str, left: list[set[str]], elsewhere: list[set[str]] | None
) -> None:
    await office.relay.stop()
    settings = {"mailboxes.handled": handled, "mailboxes.handled_folder": "Rücklauf"}
    office.relay = await opened(office.folder, **settings)
    pk, mail = await office.send()
    await office.watch()
    office.deliver(letter(1), returned(mail))
    await office.relay.settled(pk, "bounced")
    await office.was_looked_into()

    async def is_so() -> bool:
        return office.dovecot.flags(office.user) == left

    await until(is_so, every_s=0.1)
    if elsewhere is not None:
        assert office.dovecot.flags(office.user, '"R&APw-cklauf"') == elsewhere


async def test_receipts_of_certified_mail_are_read_inside_tls_and_stay(office: Office) -> None:
    await office.relay.node.stores.instance.change(lambda settings: settings)
    mailbox = office.dovecot.settings(office.user, is_tls=True)
    await office.relay.account(office.upstream, is_pec_account=True, **mailbox)
    await office.was_looked_into(("acme", "main"))
    pk, mail = await office.send("bob@pec.test")
    message_id = next(
        line.split(b":", 1)[1].strip().decode()
        for line in mail.content.split(b"\r\n")
        if line.lower().startswith(b"message-id:")
    )
    receipt = PecMail("accettazione", about=message_id, recipients=("bob@pec.test",)).build()
    office.deliver(letter(1), receipt)

    async def is_accepted() -> bool:
        return "pec_acceptance" in await office.relay.kinds(pk)

    await until(is_accepted)
    await office.counted("handled", 1)
    assert office.dovecot.flags(office.user) == [set(), set()]


async def test_a_certificate_that_nobody_vouches_for_is_no_server_to_log_in_to(
    office: Office,
) -> None:
    mailbox = office.dovecot.settings(office.user, is_tls=True) | {"ca_file": None}
    await office.relay.account(office.upstream, **mailbox)

    async def is_refused() -> bool:
        found = await office.relay.node.stores.mailboxes.troubled()
        return any("CERTIFICATE_VERIFY_FAILED" in (each.error or "") for each in found)

    await until(is_refused)
