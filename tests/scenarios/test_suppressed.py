"""Mail over SMTP for addresses that its tenant does not write to."""

import asyncio
import smtplib
from pathlib import Path

import pytest

from relay.store.database import Database
from relay.store.suppressions import MANUAL, Suppression, SuppressionStore, add
from tests.scenarios.smtp_node import PASSWORD, SmtpNode, smtp_node

MAIL = b"Subject: hello\r\n\r\nhi\r\n"
REFUSED = (550, b"5.7.1 <x@there.test> is suppressed")
GONE = Suppression("acme", "x@there.test", "no such user", MANUAL, 1.0)


def send(node: SmtpNode, *to: str) -> dict[str, tuple[int, bytes]]:
    """Send a mail; return who was refused, and how."""
    with smtplib.SMTP("127.0.0.1", node.clear_port, timeout=10) as server:
        server.login("ann", PASSWORD)
        return server.sendmail("ann@acme.test", to, MAIL)


async def recipients(database: Database) -> list[tuple[str, str]]:
    rows = await database.fetch("SELECT address, state FROM recipients ORDER BY message_pk, n")
    return [(row["address"], row["state"]) for row in rows]


async def test_a_suppressed_recipient_is_refused_and_the_others_get_the_mail(
    tmp_path: Path,
) -> None:
    async with smtp_node(tmp_path) as node:
        await SuppressionStore(node.database).put([GONE])
        refused = await asyncio.to_thread(send, node, "X@There.test", "y@there.test")
        assert refused == {"X@There.test": (550, b"5.7.1 <X@there.test> is suppressed")}
        assert await recipients(node.database) == [("y@there.test", "queued")]
        with pytest.raises(smtplib.SMTPRecipientsRefused) as error:
            await asyncio.to_thread(send, node, "x@there.test")
        assert error.value.recipients == {"x@there.test": REFUSED}


async def test_it_is_no_error_that_a_client_is_sent_home_for(tmp_path: Path) -> None:
    gone = [f"x{n}@there.test" for n in range(15)]
    async with smtp_node(tmp_path, max_errors=3) as node:
        items = [Suppression("acme", address, "", MANUAL, 1.0) for address in gone]
        await SuppressionStore(node.database).put(items)
        refused = await asyncio.to_thread(send, node, *gone, "y@there.test")
        assert list(refused) == gone
        assert await recipients(node.database) == [("y@there.test", "queued")]


async def test_by_setting_it_is_taken_and_fails_with_an_event(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, takes_suppressed=True) as node:
        await SuppressionStore(node.database).put([GONE])
        assert await asyncio.to_thread(send, node, "x@there.test", "y@there.test") == {}
        assert await asyncio.to_thread(send, node, "x@there.test") == {}
        assert await recipients(node.database) == [
            ("x@there.test", "failed"),
            ("y@there.test", "queued"),
            ("x@there.test", "failed"),
        ]
        rows = await node.database.fetch("SELECT kind FROM events WHERE kind = 'suppressed'")
        assert len(rows) == 2


async def test_what_another_node_suppressed_without_a_word_is_seen_after_the_dot(
    tmp_path: Path,
) -> None:
    async with smtp_node(tmp_path) as node:
        # Here it is known by now that this tenant suppresses nobody.
        await asyncio.to_thread(send, node, "x@there.test")
        await node.database.write(lambda: add([GONE]))
        with pytest.raises(smtplib.SMTPDataError, match="suppressed") as error:
            await asyncio.to_thread(send, node, "x@there.test")
        assert error.value.smtp_code == 550
        assert await asyncio.to_thread(send, node, "x@there.test", "y@there.test") == {}
        assert await recipients(node.database) == [
            ("x@there.test", "queued"),
            ("x@there.test", "failed"),
            ("y@there.test", "queued"),
        ]
