"""The bytes of mail, whatever their size: whole when they are read, gone when they are dropped."""

import os

import pytest

from relay.model import State
from relay.store import contents
from relay.store.contents import PART_BYTES
from relay.store.database import Database
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.queue.orders import Order
from relay.store.spool import Spool

from .conftest import mail, settlement

SIZES = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 7]


async def parts(db: Database) -> int:
    rows = await db.fetch("SELECT COUNT(*) AS n FROM content_parts")
    return int(rows[0]["n"])


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_a_content_of_any_size_reads_back_as_it_was(
    spool: Spool, db: Database, size_bytes: int
) -> None:
    content = os.urandom(size_bytes)
    accepted = await spool.accept(mail(spool, content=content))
    assert await spool.content(accepted.pk) == content
    assert await MessageStore(db).content(accepted.pk) == content
    other = os.urandom(SIZES[-1] - size_bytes)
    await db.write(lambda: contents.replace(accepted.pk, other))
    assert await spool.content(accepted.pk) == other


async def test_a_big_mail_lies_in_parts_and_goes_with_all_of_them(
    spool: Spool, db: Database
) -> None:
    big = {"content": bytes(3 * PART_BYTES), "id": "m1"}
    await spool.accept(mail(spool, **big))  # type: ignore[arg-type]
    assert await parts(db) == 2
    await spool.accept(mail(spool, id="m1"))
    assert await parts(db) == 0
    await spool.accept(mail(spool, **big))  # type: ignore[arg-type]
    [delivery] = await spool.claim("acme/main", 10)
    await spool.settle(settlement(spool, delivery, State.QUEUED))
    assert await parts(db) == 2
    [again] = await spool.claim("acme/main", 10)
    assert again.content is None
    await spool.settle(settlement(spool, again, State.SENT))
    assert await parts(db) == 0


@pytest.mark.parametrize("order", [Order.CANCEL, Order.DELETE])
async def test_what_is_cancelled_or_deleted_leaves_no_parts(
    spool: Spool, db: Database, order: Order
) -> None:
    accepted = await spool.accept(mail(spool, content=bytes(2 * PART_BYTES)))
    assert await parts(db) == 1
    await OrderStore(spool).give(order, "acme", [accepted.pk])
    assert await parts(db) == 0
