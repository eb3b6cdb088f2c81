"""What a client asks of time and order: FUTURERELEASE, DELIVERBY, MT-PRIORITY."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.formats.headers.controls import HORIZON_S
from relay.ingress.smtp.wishes import priority_of
from relay.model import Credential, Priority, SecretKind
from relay.store.database import Row
from relay.store.late import REPLY
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.raw_client import client
from tests.scenarios.smtp_node import smtp_node
from tests.waiting import until

DAY_S = 86_400
LOGIN = Credential("ann", "acme", SecretKind.SHA256, "none", networks=("127.0.0.0/8",))


async def stored(folder: Path, parameters: str, header: bytes = b"") -> Row:
    async with smtp_node(folder) as node, client(node.clear_port) as raw:
        await raw.log_in()
        reply = await raw.say(f"MAIL FROM:<ann@acme.test> {parameters}")
        assert reply == "250 2.1.0 Ok"
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        raw.writer.write(header + b"\r\nhi\r\n.\r\n")
        assert (await raw.hear()).startswith("250 2.0.0")
        (row,) = await node.database.fetch(
            "SELECT m.*, r.state FROM messages m JOIN recipients r ON r.message_pk = m.pk"
        )
        return row


async def test_a_mail_is_held_for_so_long(tmp_path: Path) -> None:
    row = await stored(tmp_path, "HOLDFOR=600")
    assert row["deferred_ts"] == pytest.approx(row["accepted_at"] + 600, abs=5)
    assert row["state"] == "deferred"


async def test_a_mail_is_held_until_a_time_in_any_zone(tmp_path: Path) -> None:
    at = datetime.fromtimestamp(int(time.time()) + 3600, UTC)
    row = await stored(tmp_path, f"HOLDUNTIL={at:%Y-%m-%dT%H:%M:%S}Z")
    assert row["deferred_ts"] == at.timestamp()


async def test_a_time_that_is_past_holds_nothing(tmp_path: Path) -> None:
    row = await stored(tmp_path, "HOLDUNTIL=2001-02-03T04:05:06+02:00")
    assert row["state"] == "queued"


async def test_a_mail_held_longer_than_mail_lives_lives_on_after_its_release(
    tmp_path: Path,
) -> None:
    row = await stored(tmp_path, f"HOLDFOR={30 * DAY_S}")
    assert row["expires_at"] == pytest.approx(row["accepted_at"] + 35 * DAY_S, abs=5)


async def test_a_mail_to_be_returned_expires(tmp_path: Path) -> None:
    row = await stored(tmp_path, "BY=120;R")
    assert row["expires_at"] == pytest.approx(row["accepted_at"] + 120, abs=5)
    assert row["late_at"] is None


async def test_a_mail_to_be_told_of_does_not_expire(tmp_path: Path) -> None:
    row = await stored(tmp_path, "BY=120;N")
    assert row["expires_at"] is None
    assert row["late_at"] == pytest.approx(row["accepted_at"] + 120, abs=5)


async def test_a_priority_is_mapped_and_a_header_of_ours_goes_before_it(tmp_path: Path) -> None:
    assert (await stored(tmp_path, "MT-PRIORITY=4"))["priority"] == Priority.IMMEDIATE


async def test_a_control_header_goes_before_the_parameter(tmp_path: Path) -> None:
    row = await stored(tmp_path, "MT-PRIORITY=4", b"X-Pillarbox-Priority: low\r\n")
    assert row["priority"] == Priority.LOW


@pytest.mark.parametrize(
    ("levels", "priority"),
    [
        (range(-9, 0), Priority.LOW),
        (range(1), Priority.MEDIUM),
        (range(1, 4), Priority.HIGH),
        (range(4, 10), Priority.IMMEDIATE),
    ],
)
def test_nineteen_levels_become_four(levels: range, priority: Priority) -> None:
    assert {priority_of(level) for level in levels} == {priority}


async def test_what_ehlo_promises_can_be_asked_for(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.hear()
        raw.writer.write(b"EHLO client.test\r\n")
        told = (await raw.reader.readuntil(b"\r\n250 ")).decode()
        await raw.reader.readline()
        found = re.search(r"250-FUTURERELEASE (\d+) (\S+)\r", told)
        assert found is not None
        assert found[1] == f"{HORIZON_S:.0f}"
        await raw.say("AUTH PLAIN AGFubgBzZWNyZXQ=")
        for farthest in (f"HOLDFOR={found[1]}", f"HOLDUNTIL={found[2]}"):
            assert (await raw.say(f"MAIL FROM:<a@acme.test> {farthest}")).startswith("250")
            await raw.say("RSET")


async def test_mail_that_is_late_is_told_of_once_and_waits_on(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    upstream.on["MAIL"] = "451 4.3.0 not now"
    relay = await start_node(**{"retry.waits_s": [3600]})
    await relay.tenant("acme", client_base_url="http://127.0.0.1:1")
    await relay.account(upstream)
    await relay.node.stores.credentials.save(LOGIN)
    (_, _, port) = relay.node.smtp.addresses[0]
    async with client(port) as raw:
        await raw.hear()
        await raw.say("EHLO client.test")
        await raw.say("MAIL FROM:<ann@acme.test> BY=-5;N")
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        raw.writer.write(b"\r\nhi\r\n.\r\n")
        pk = (await raw.hear()).rpartition(" ")[2]

    async def told() -> bool:
        return await late_events(relay, pk) == 1

    await until(told, timeout_s=20)
    assert await relay.states(pk) == ["deferred"]


async def late_events(relay: Relay, pk: str) -> int:
    events = await relay.node.stores.messages.events(pk)
    return sum(event.data.get("reply") == REPLY for event in events)
