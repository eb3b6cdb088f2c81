"""Mail that comes in goes out from memory, and what is on disk meanwhile says how far it is."""

from relay.store.database import Database
from tests.fakes.upstream import HANG, FakeUpstream
from tests.scenarios.conftest import StartNode


async def is_begun(database: Database, pk: str) -> bool:
    [row] = await database.fetch("SELECT begun_at FROM recipients WHERE message_pk = $1", pk)
    return row["begun_at"] is not None


async def test_mail_is_stored_as_begun_where_a_connection_stands_ready(
    start_node: StartNode,
) -> None:
    relay = await start_node()
    async with FakeUpstream(on={"MAIL": [None, HANG]}) as upstream:
        await relay.tenant("acme")
        await relay.account(upstream)
        first = await relay.send("first@t.test")
        await relay.settled(first.pk, "sent")
        second = await relay.send("second@t.test")
        # At once, without another commit.
        assert await is_begun(relay.node.database, second.pk)
        assert upstream.connections == 1


async def test_mail_for_which_a_connection_must_be_opened_is_not_begun_yet(
    start_node: StartNode,
) -> None:
    relay = await start_node()
    async with FakeUpstream(on={"GREETING": HANG}) as upstream:
        await relay.tenant("acme")
        await relay.account(upstream)
        accepted = await relay.send("first@t.test")
        assert not await is_begun(relay.node.database, accepted.pk)
