"""Who reads a mailbox, how far, and that a mail acts once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.crypto import Keyring
from relay.errors import DataRejected, Fenced
from relay.model import Account, Tenant
from relay.store import nodes
from relay.store.accounts import AccountStore
from relay.store.database import Database, Query, Script
from relay.store.instance import BounceMailbox, InstanceStore
from relay.store.mailbox import INSTANCE, Mailbox, mailbox_of_account
from relay.store.mailboxes import (
    Conclusion,
    Done,
    MailboxStore,
    Met,
    Turn,
    forget,
)
from relay.store.spool import Spool
from relay.store.tenants import TenantStore

COUNT = "UPDATE counters SET value = value + 1 WHERE name = 'acted'"
ACCOUNT = Account("acme", "main", "up.test", 25, imap_host="imap.test", imap_user="u")
MET = Met(uid_validity=1, uid=5, digest="d1", is_readable=True, is_marked=False)


@pytest.fixture
async def store(db: Database, keyring: Keyring) -> MailboxStore:
    """A store with the mailbox of one account."""
    await TenantStore(db, keyring).save(Tenant("acme", "Acme"))
    accounts = AccountStore(db, keyring)
    await accounts.save(ACCOUNT)

    def script() -> Script[None]:
        yield Query("INSERT INTO counters (name, value) VALUES ('acted', 0)")

    await db.write(script)
    return MailboxStore(db, accounts, InstanceStore(db, keyring))


def mailbox(**changes: object) -> Mailbox:
    found = mailbox_of_account(replace(ACCOUNT, **changes), 60)  # type: ignore[arg-type]
    assert found
    return found


async def taken(store: MailboxStore, epoch: int, **changes: object) -> Turn:
    turn = await store.take(mailbox(**changes), epoch)
    assert turn
    return turn


def acting(*, is_ours: bool = True) -> Callable[[], Script[Done[str]]]:
    def script() -> Script[Done[str]]:
        yield Query(COUNT)
        return Done("acted", is_ours)

    return script


async def acted(db: Database) -> int:
    count: int = (await db.fetch("SELECT value FROM counters WHERE name = 'acted'"))[0]["value"]
    return count


async def other_node(db: Database) -> int:
    return await db.write(lambda: nodes.register("other", db.now(), 60))


async def test_one_node_reads_a_mailbox_until_it_is_done_or_dead(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    other = await other_node(db)
    turn = await taken(store, spool.epoch)
    assert await store.take(mailbox(), other) is None
    assert await store.seats(other) == []
    assert [seat.key for seat in await store.seats(spool.epoch)] == [("acme", "main")]
    await store.conclude(turn, Conclusion(due_at=0))
    await taken(store, other)
    assert await store.seats(spool.epoch) == []
    await db.write(lambda: nodes.leave(other))

    def bury() -> Script[None]:
        yield Query(nodes.BURY, (other,))

    await db.write(bury)
    await taken(store, spool.epoch)


async def test_a_mail_acts_once_and_its_mailbox_is_read_on_from_there(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)
    assert await store.act(turn, MET, acting()) == Done("acted", True)
    assert await store.act(turn, MET, acting()) is None
    assert await acted(db) == 1
    again = await taken(store, spool.epoch)
    assert (again.uid_validity, again.last_uid) == (1, 5)
    anew = await store.count_from(again, 2)
    assert (anew.uid_validity, anew.last_uid) == (2, 0)
    assert await store.act(anew, replace(MET, uid_validity=2, uid=9), acting()) is None
    assert await acted(db) == 1
    assert [met.uid for met in await store.unmarked(anew, 2)] == [9]


async def test_what_is_about_no_mail_of_ours_is_not_remembered(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)
    await store.act(turn, MET, acting(is_ours=False))
    assert await store.unmarked(turn, 1) == []
    assert (await taken(store, spool.epoch)).last_uid == 5


async def test_a_node_that_lost_its_mailbox_changes_nothing(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)
    await store.conclude(turn, Conclusion(due_at=0))
    other = await taken(store, await other_node(db))
    late = Conclusion(due_at=0)
    with pytest.raises(Fenced):
        await store.act(turn, MET, acting())
    with pytest.raises(Fenced):
        await store.put_aside(turn, MET)
    with pytest.raises(Fenced):
        await store.advance(turn, 9)
    with pytest.raises(Fenced):
        await store.conclude(turn, late)
    assert await acted(db) == 0
    assert (await taken(store, other.epoch)).last_uid == 0


async def test_an_effect_that_fails_leaves_no_trace_so_the_mail_can_be_put_aside(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)

    def refused() -> Script[Done[None]]:
        yield Query(COUNT)
        yield Query("INSERT INTO counters (name, value) VALUES ('acted', 1)")
        return Done(None, True)

    with pytest.raises(DataRejected):
        await store.act(turn, MET, refused)
    assert await acted(db) == 0
    await store.put_aside(turn, replace(MET, is_readable=False))
    assert [(m.uid, m.is_readable) for m in await store.unmarked(turn, 1)] == [(5, False)]
    await store.marked(turn, [MET])
    assert await store.unmarked(turn, 1) == []


async def test_another_mailbox_is_read_from_its_start(
    db: Database, store: MailboxStore, spool: Spool
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)
    await store.advance(turn, 7)
    assert (await taken(store, spool.epoch)).last_uid == 7
    other = await taken(store, spool.epoch, imap_folder="Bounces")
    assert (other.uid_validity, other.last_uid) == (None, 0)


async def test_the_instances_mailbox_is_seated_where_it_is_enabled(
    db: Database, store: MailboxStore, spool: Spool, keyring: Keyring
) -> None:
    instance = InstanceStore(db, keyring)
    bounce = BounceMailbox(bounce_enabled=True, bounce_imap_host="imap.test")
    await instance.change(lambda s: replace(s, bounce=bounce))
    first, *_ = await store.seats(spool.epoch)
    assert first.key == INSTANCE
    await instance.change(lambda s: replace(s, bounce=replace(bounce, bounce_imap_port=1143)))
    second, *_ = await store.seats(spool.epoch)
    assert second.version != first.version
    found = await store.open(INSTANCE, 60)
    assert found
    assert (found.port, found.uses_tls, found.tenant_id) == (1143, True, None)
    await store.take(found, await other_node(db))
    assert INSTANCE not in [seat.key for seat in await store.seats(spool.epoch)]
    await instance.change(lambda s: replace(s, bounce=BounceMailbox()))
    assert await store.open(INSTANCE, 60) is None


async def test_trouble_is_told_until_the_mailbox_answers_or_is_read_no_more(
    db: Database, store: MailboxStore, spool: Spool, keyring: Keyring
) -> None:
    turn = await taken(store, spool.epoch)
    await store.conclude(turn, Conclusion(db.now() + 300, 2, db.now(), "LOGIN: NO"))
    [standing] = await store.troubled()
    assert (standing.key, standing.failures, standing.error) == (turn.key, 2, "LOGIN: NO")
    assert (await store.seats(spool.epoch))[0].due_at > db.now()
    await store.make_due()
    assert (await store.seats(spool.epoch))[0].due_at == 0
    await store.looked(await taken(store, spool.epoch))
    assert await store.troubled() == []
    await store.conclude(await taken(store, spool.epoch), Conclusion(0, 1, 0, "gone"))
    await AccountStore(db, keyring).delete("acme", "main")
    assert await store.troubled() == []


async def test_old_mail_and_mailboxes_of_no_account_are_forgotten(
    db: Database, store: MailboxStore, spool: Spool, keyring: Keyring
) -> None:
    turn = await store.count_from(await taken(store, spool.epoch), 1)
    await store.act(turn, MET, acting())
    await db.write(lambda: forget(db.now() + 1))
    assert await db.fetch("SELECT * FROM mailbox_mails") == []
    assert (await taken(store, spool.epoch)).last_uid == 5
    await AccountStore(db, keyring).delete("acme", "main")
    await db.write(lambda: forget(db.now() + 1))
    assert await db.fetch("SELECT * FROM mailboxes") == []


@pytest.mark.parametrize(
    ("changes", "port", "uses_tls"),
    [
        ({}, 993, True),
        ({"imap_ssl": False}, 143, False),
        ({"imap_port": 143}, 143, True),
        ({"imap_port": 1993, "imap_ssl": True}, 1993, True),
    ],
)
def test_a_password_goes_in_clear_only_where_tls_was_turned_off_by_name(
    changes: dict[str, object], port: int, uses_tls: bool
) -> None:
    found = mailbox(**changes)
    assert (found.port, found.uses_tls) == (port, uses_tls)


def test_an_accounts_own_login_serves_where_none_is_given_for_its_mailbox() -> None:
    found = mailbox(imap_user=None, user="me", password="sesame")
    assert (found.user, found.password, found.folder) == ("me", "sesame", "INBOX")
    assert "sesame" not in repr(found)
