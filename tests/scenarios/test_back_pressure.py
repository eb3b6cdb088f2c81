"""Why a client is asked to come again, and that it is asked before it sends what is known to be in
vain. The session goes on all the while.

That of a disk below its watermark, of content over the memory's bound and of a database that fails
after the dot are in test_ingress and test_receiving.
"""

from pathlib import Path

import pytest

from relay.ingress.backlog import Bounds
from relay.model import Tenant
from tests.scenarios.raw_client import Raw, client
from tests.scenarios.smtp_node import smtp_node

MAIL = "MAIL FROM:<ann@acme.test>"
IN_TROUBLE = "451 4.3.0 Temporary trouble here, try again later"


async def send(raw: Raw, content: str = "hi") -> str:
    await raw.envelope()
    await raw.say("DATA")
    return await raw.say(f"Subject: x\r\n\r\n{content}\r\n.")


async def assert_refused_at_once(raw: Raw, reply: str) -> None:
    """Expect the reply to MAIL, and that it ends nothing."""
    assert (await raw.say(MAIL)).startswith(reply)
    assert await raw.say("NOOP") == "250 2.0.0 Ok"


@pytest.mark.parametrize("bounds", [Bounds(messages=1), Bounds(size_bytes=50)], ids=str)
async def test_too_much_waiting_mail_of_a_tenant_is_a_452(tmp_path: Path, bounds: Bounds) -> None:
    async with smtp_node(tmp_path, waiting=bounds) as node, client(node.clear_port) as raw:
        await raw.log_in()
        assert (await send(raw)).startswith("250 2.0.0")
        assert (await send(raw, "x" * 50)).startswith("452 4.3.1")
        await assert_refused_at_once(raw, "452 4.3.1")
        assert len(await node.stored()) == 1


async def test_a_tenant_over_its_rate_is_a_452(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await node.tenants.save(Tenant("acme", "Acme", rate_limits={"hourly": 1}))
        await raw.log_in()
        assert (await send(raw)).startswith("250 2.0.0")
        assert (await send(raw)).startswith("452 4.7.0")
        await assert_refused_at_once(raw, "452 4.7.0")
        assert len(await node.stored()) == 1


async def test_a_database_that_can_grow_no_more_is_a_452(tmp_path: Path) -> None:
    much = "x" * 500_000
    async with (
        smtp_node(tmp_path, max_message_bytes=1_000_000) as node,
        client(node.clear_port) as raw,
    ):
        await raw.log_in()
        await node.database.fetch("PRAGMA max_page_count = 1")
        assert await send(raw, much) == "452 4.3.1 Insufficient system storage"
        assert await raw.say("NOOP") == "250 2.0.0 Ok"
        await node.database.fetch("PRAGMA max_page_count = 100000")
        assert (await send(raw, much)).startswith("250 2.0.0")


async def test_a_database_that_is_gone_is_a_451_wherever_it_is_asked(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.log_in()
        await raw.say(MAIL)
        await node.database.fetch("DROP TABLE suppressions")
        assert await raw.say("RCPT TO:<y@there.test>") == IN_TROUBLE
        await raw.say("RSET")
        await node.database.fetch("DROP TABLE credentials")
        await node.database.signal("credential", "ann")
        await assert_refused_at_once(raw, IN_TROUBLE)


async def test_a_node_that_is_drained_says_goodbye_at_mail(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.log_in()
        node.door.is_open = False
        assert (await raw.say(MAIL)).startswith("421 4.3.2")
        assert await raw.hear() == ""
