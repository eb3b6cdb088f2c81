"""The memory that content may take, over all connections."""

from pathlib import Path

from tests.scenarios.raw_client import client
from tests.scenarios.smtp_node import SmtpNode, smtp_node
from tests.waiting import until

HALF = b"Subject: half\r\n\r\n" + b"x" * 3000


async def test_who_comes_when_it_is_full_is_asked_to_come_again(tmp_path: Path) -> None:
    async with (
        smtp_node(tmp_path, max_receiving_bytes=5000) as node,
        client(node.clear_port) as first,
        client(node.clear_port) as second,
    ):
        await first.reach_data()
        await second.reach_data()
        first.writer.write(HALF)
        await until(lambda: holds(node, len(HALF)))
        second.writer.write(HALF)
        await second.writer.drain()
        second.writer.write(b"\r\n.\r\n")
        assert (await second.hear()).startswith("452 4.3.1")
        assert (await second.say("MAIL FROM:<ann@acme.test> SIZE=3000")).startswith("452 4.3.1")
        first.writer.write(b"\r\n.\r\n")
        assert (await first.hear()).startswith("250 2.0.0")
        await second.envelope()
        assert (await second.say("DATA")).startswith("354")
        second.writer.write(HALF + b"\r\n.\r\n")
        assert (await second.hear()).startswith("250 2.0.0")
        assert node.listener.held_bytes == 0


async def test_a_client_that_drops_gives_back_what_it_held(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        async with client(node.clear_port) as raw:
            await raw.reach_data()
            raw.writer.write(HALF)
            await until(lambda: holds(node, len(HALF)))
            raw.reset()
        await until(lambda: holds(node, 0))


async def holds(node: SmtpNode, count: int) -> bool:
    return node.listener.held_bytes == count
