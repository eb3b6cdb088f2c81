"""Files of stored mail: kept with it, completed once, gone with it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from relay.crypto import Keyring
from relay.errors import Fenced, Held, SecretDamaged
from relay.model import ContentTraits, Delivery, FetchMode, NewAttachment, NewMail, State
from relay.store.attachments import AttachmentStore, Done, Given, Prepared, TakenOut
from relay.store.database import Database
from relay.store.destroy import destroy
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.queue.orders import Order
from relay.store.retention import RetentionStore, Rule
from relay.store.spool import Spool

from .conftest import mail, settlement

LOGIN = {"method": "bearer", "token": "very-secret"}
GIVEN = (
    Given(
        NewAttachment(
            0, FetchMode.BASE64, "a.txt", "text/plain", "attachment", size_bytes=2, sha256="00"
        )
    ),
    Given(
        NewAttachment(
            1,
            FetchMode.HTTP_URL,
            "b.pdf",
            "application/pdf",
            "inline",
            content_id="b@x",
            source="http://files.test/b",
            md5="d41d8cd98f00b204e9800998ecf8427e",
            from_end_bytes=12,
        ),
        LOGIN,
    ),
)
DONE = Done(1, "fetched", 1000, "ab" * 32)
PREPARED = Prepared(b"Subject: whole\r\n\r\n.\r\n", ContentTraits(longest_line=14), (DONE,))


@pytest.fixture
def files(db: Database, keyring: Keyring) -> AttachmentStore:
    return AttachmentStore(db, keyring)


def with_files(spool: Spool, files: AttachmentStore, id: str, **changes: object) -> NewMail:
    new = mail(spool, id=id, is_prepared=False, **changes)  # type: ignore[arg-type]
    return replace(new, attachments=files.sealed(GIVEN, "acme", id))


async def claimed(spool: Spool) -> Sequence[Delivery]:
    return await spool.claim("acme/main", 10)


async def count(db: Database, table: str) -> int:
    rows = await db.fetch(f"SELECT COUNT(*) AS n FROM {table}")
    return int(rows[0]["n"])


async def test_a_mail_says_that_it_lacks_files_and_which(
    spool: Spool, files: AttachmentStore
) -> None:
    await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    assert not delivery.is_prepared
    [waiting] = await files.waiting(delivery)
    assert (waiting.n, waiting.mode, waiting.source) == (1, "http_url", "http://files.test/b")
    assert (waiting.from_end_bytes, waiting.content_id, waiting.auth) == (12, "b@x", LOGIN)


async def test_a_login_is_sealed_at_rest_and_opens_in_its_place_only(
    spool: Spool, files: AttachmentStore, db: Database
) -> None:
    await spool.accept(with_files(spool, files, "m1"))
    await spool.accept(with_files(spool, files, "m2"))
    rows = await db.fetch("SELECT message_pk, auth FROM attachments WHERE n = 1 ORDER BY auth")
    assert all("secret" not in row["auth"] for row in rows)
    first, second = await claimed(spool)
    stolen = replace(first, id=second.id)
    with pytest.raises(SecretDamaged):
        await files.waiting(stolen)


async def test_a_mail_is_completed_once_and_the_next_claim_brings_the_whole(
    spool: Spool, files: AttachmentStore, db: Database
) -> None:
    accepted = await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    assert await files.complete(delivery, PREPARED)
    assert not await files.complete(delivery, replace(PREPARED, content=b"other"))
    await spool.settle(settlement(spool, delivery, State.QUEUED))
    [again] = await claimed(spool)
    assert again.is_prepared
    assert again.content == PREPARED.content
    assert again.size_bytes == len(PREPARED.content)
    assert again.traits.longest_line == 14
    assert await files.waiting(again) == []
    base64, fetched = await files.views(accepted.pk)
    assert (base64.state, base64.got, base64.size_bytes) == ("inserted", "given", 2)
    assert (fetched.state, fetched.got, fetched.size_bytes) == ("inserted", "fetched", 1000)
    [row] = await db.fetch("SELECT source, auth FROM attachments WHERE n = 1")
    assert (row["source"], row["auth"]) == (None, None)


async def test_what_became_a_link_is_told(spool: Spool, files: AttachmentStore) -> None:
    accepted = await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    linked = replace(DONE, link="https://files.test/x", link_expires_at=9.0)
    part = TakenOut("c.zip", "application/zip", 7, "cd" * 32, "https://files.test/y", 9.0)
    await files.complete(delivery, replace(PREPARED, done=(linked,), taken_out=(part,)))
    views = await files.views(accepted.pk)
    assert [(v.n, v.mode, v.state, v.link) for v in views] == [
        (0, "base64", "inserted", None),
        (1, "http_url", "linked", "https://files.test/x"),
        (2, "content", "linked", "https://files.test/y"),
    ]


async def test_a_mail_that_was_taken_back_is_not_completed(
    spool: Spool, files: AttachmentStore
) -> None:
    accepted = await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    orders = OrderStore(spool)
    await orders.give(Order.HOLD, "acme", [accepted.pk])
    with pytest.raises(Held):
        await files.complete(delivery, PREPARED)


async def test_a_mail_that_was_replaced_keeps_its_own_bytes(
    spool: Spool, files: AttachmentStore
) -> None:
    accepted = await spool.accept(with_files(spool, files, "m1"))
    [old] = await claimed(spool)
    orders = OrderStore(spool)
    await orders.give(Order.HOLD, "acme", [accepted.pk])
    corrected = mail(spool, id="m1", content=b"Subject: corrected\r\n\r\n")
    await spool.accept(corrected)
    await orders.give(Order.RELEASE, "acme", [accepted.pk])
    [new] = await claimed(spool)
    with pytest.raises(Held):
        await files.complete(old, PREPARED)
    assert new.content == b"Subject: corrected\r\n\r\n"
    assert await files.views(accepted.pk) == []


async def test_a_node_that_lost_its_lease_completes_nothing(
    spool: Spool, files: AttachmentStore
) -> None:
    await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    with pytest.raises(Fenced):
        await files.complete(replace(delivery, epoch=99), PREPARED)


@pytest.mark.parametrize("way", ["delete", "retention", "destroy"])
async def test_files_go_with_their_message(
    spool: Spool, files: AttachmentStore, db: Database, way: str
) -> None:
    accepted = await spool.accept(with_files(spool, files, "m1"))
    [delivery] = await claimed(spool)
    await spool.settle(settlement(spool, delivery, State.SENT))
    assert await count(db, "attachments") == 2
    if way == "delete":
        await OrderStore(spool).give(Order.DELETE, "acme", [accepted.pk])
    elif way == "retention":
        await RetentionStore(db).apply(Rule("acme", spool.now() + 1))
    else:
        await destroy(db, "acme")
    assert await count(db, "attachments") == 0
    assert await MessageStore(db).find("acme", accepted.pk) is None
