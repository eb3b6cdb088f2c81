"""Real clients and hard ones against a live SMTP door: what they get, and what is in the store."""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from relay.errors import ConfigError
from relay.ingress.smtp import Endpoint, SmtpListener
from relay.ingress.smtp.connections import Connections
from relay.model import Tenant
from tests.scenarios.raw_client import Raw, client
from tests.scenarios.smtp_node import (
    CA,
    CLEAR,
    LOGINS,
    PASSWORD,
    SETTINGS,
    SmtpNode,
    smtp_node,
    with_certificate,
)
from tests.waiting import until

MEGABYTE = 1024 * 1024
MAIL = (
    b"From: Ann <ann@acme.test>\r\n"
    b"To: x@there.test\r\n"
    b"Bcc: hidden@there.test\r\n"
    b" and@there.test\r\n"
    b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"  folded  oddly\t\r\n"
    b"X-Pillarbox-Priority: high\r\n"
    b"\r\n"
    b".leading dot\r\n"
    b"..two\r\n"
    b"trailing blanks  \r\n"
    b"8-bit: gr\xc3\xbc\xc3\x9fe \xff\r\n"
    b"\r\n\r\n"
)
LEFT = MAIL.replace(b"Bcc: hidden@there.test\r\n and@there.test\r\n", b"").replace(
    b"X-Pillarbox-Priority: high\r\n", b""
)


def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def send_by_smtplib(server: smtplib.SMTP, user: str = "ann") -> None:
    with server:
        server.login(user, PASSWORD)
        server.sendmail("ann@acme.test", ["x@there.test", "y@there.test"], MAIL)


def send_in_clear(port: int) -> None:
    send_by_smtplib(smtplib.SMTP("127.0.0.1", port, timeout=10))


def send_by_starttls(port: int) -> None:
    server = smtplib.SMTP("127.0.0.1", port, timeout=10)
    server.starttls(context=tls_context())
    send_by_smtplib(server, "bob")


def send_inside_tls(port: int) -> None:
    send_by_smtplib(smtplib.SMTP_SSL("127.0.0.1", port, timeout=10, context=tls_context()))


async def test_python_sends_in_clear_by_starttls_and_inside_tls(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        await asyncio.to_thread(send_in_clear, node.clear_port)
        await asyncio.to_thread(send_by_starttls, node.port)
        await asyncio.to_thread(send_inside_tls, node.tls_port)
        stored = await node.stored()
    assert [mail.recipients for mail in stored] == [("x@there.test", "y@there.test")] * 3
    protocols = [b"ESMTPA", b"ESMTPSA", b"ESMTPSA"]
    for mail, protocol in zip(stored, protocols, strict=True):
        assert f"id {mail.pk};".encode() in mail.content
        assert b" with " + protocol + b"\r\n" in mail.content


async def test_stored_bytes_are_those_that_were_sent(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        await asyncio.to_thread(send_in_clear, node.clear_port)
        (mail,) = await node.stored()
    head, sent, rest = mail.content.partition(b"From: Ann")
    assert sent + rest == LEFT
    assert [line.split(b":")[0] for line in head.splitlines() if line[:1] != b"\t"] == [
        b"Received",
        b"X-Pillarbox-ID",
        b"Date",
        b"Message-ID",
    ]


async def test_date_and_message_id_are_added_only_where_they_are_absent(tmp_path: Path) -> None:
    given = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-Id: <mine@acme.test>\r\n\r\nhi"
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        assert (await raw.send(given)).startswith("250 2.0.0 Ok: queued as ")
        (mail,) = await node.stored()
    assert mail.content.endswith(b"\r\n" + given + b"\r\n")
    assert mail.content.lower().count(b"date:") == 1
    assert mail.content.lower().count(b"message-id:") == 1


async def test_the_reply_names_the_stored_mail(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        reply = await raw.send(b"Subject: x\r\n\r\nhi")
        (mail,) = await node.stored()
    assert reply == f"250 2.0.0 Ok: queued as {mail.pk}"


async def test_dsn_parameters_are_stored_as_given(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.log_in()
        await raw.say("MAIL FROM:<ann@acme.test> RET=HDRS ENVID=Qq+2B1")
        await raw.say("RCPT TO:<x@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X@There.test")
        await raw.say("DATA")
        assert (await raw.say("\r\n.")).startswith("250")
        (message,) = await node.database.fetch("SELECT ret, envid FROM messages")
        (recipient,) = await node.database.fetch("SELECT notify, orcpt FROM recipients")
    assert (message["ret"], message["envid"]) == ("HDRS", "Qq+2B1")
    assert recipient["notify"] == "SUCCESS,DELAY"
    assert recipient["orcpt"] == "rfc822;X@There.test"


@pytest.mark.peers
@pytest.mark.parametrize(
    "options",
    [
        ["--auth", "PLAIN"],
        ["--auth", "LOGIN", "-tls"],
        ["--auth", "PLAIN", "--tls-on-connect"],
        ["--auth", "LOGIN", "--pipeline"],
    ],
    ids=" ".join,
)
async def test_swaks_sends(tmp_path: Path, options: list[str]) -> None:
    async with smtp_node(tmp_path) as node:
        port = node.tls_port if "--tls-on-connect" in options else node.clear_port
        command = ["swaks", "--server", f"127.0.0.1:{port}", "-f", "ann@acme.test"]
        command += ["-t", "x@there.test", "-au", "ann", "-ap", PASSWORD, *options]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
        stored = await node.stored()
    assert done.returncode == 0, done.stdout.decode()
    assert len(stored) == 1


async def test_a_mail_is_stored_once_although_its_client_drops_after_the_dot(
    tmp_path: Path,
) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        raw.writer.write(b"Subject: last words\r\n\r\n.\r\n")
        await raw.writer.drain()
        raw.writer.close()
        await until(lambda: has_stored(node, 1))
        await node.listener.stop(5)
        assert len(await node.stored()) == 1


async def has_stored(node: SmtpNode, count: int) -> bool:
    return len(await node.stored()) >= count


async def test_a_client_that_says_no_more_still_hears_its_reply(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        raw.writer.write(b"\r\n.\r\n")
        raw.writer.write_eof()
        assert (await raw.hear()).startswith("250 2.0.0")
        assert await raw.hear() == ""


async def test_half_a_mail_is_not_stored(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        async with client(node.clear_port) as raw:
            await raw.reach_data()
            raw.writer.write(b"Subject: half\r\n\r\nand then")
            await raw.writer.drain()
            raw.reset()
        await node.listener.stop(5)
        assert await node.stored() == []


async def test_database_trouble_is_a_451_that_tells_nothing(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        await node.break_database()
        raw.writer.write(b"\r\n.\r\n")
        assert await raw.hear() == "451 4.3.0 Temporary trouble here, try again later"
        assert await raw.say("NOOP") == "250 2.0.0 Ok"
        async with client(node.clear_port) as other:
            await other.hear()
            await other.say("EHLO client.test")
            reply = await other.say("AUTH PLAIN AG5vYm9keQBzZWNyZXQ=")
            assert reply == "454 4.7.0 Temporary authentication failure"


async def test_a_full_disk_is_a_452_at_mail(tmp_path: Path) -> None:
    async with (
        smtp_node(tmp_path, min_free_disk_bytes=1 << 62) as node,
        client(node.clear_port) as raw,
    ):
        await raw.log_in()
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("452 4.3.1")
        assert await raw.say("NOOP") == "250 2.0.0 Ok"


async def test_a_login_that_is_revoked_ends_its_open_sessions(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.log_in()
        await raw.envelope()
        await raw.say("RSET")
        await node.credentials.save(replace(LOGINS[0], active=False))
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("421 4.7.0")
        assert await raw.hear() == ""


async def test_a_tenant_that_is_switched_off_sends_nothing_more(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        async with client(node.clear_port) as raw:
            await raw.log_in()
            await node.tenants.save(Tenant("acme", "Acme", active=False))
            assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("421 4.7.0")
        async with client(node.clear_port) as raw:
            await raw.hear()
            await raw.say("EHLO client.test")
            assert (await raw.say("AUTH PLAIN AGFubgBzZWNyZXQ=")).startswith("535 5.7.8")


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, max_connections=1) as node:
        async with client(node.clear_port) as first:
            await first.hear()
            async with client(node.clear_port) as second:
                assert await second.hear() == "421 4.7.0 Too many connections"
                assert await second.hear() == ""
            assert await first.say("NOOP") == "250 2.0.0 Ok"
        await until(lambda: is_welcome(node))


async def is_welcome(node: SmtpNode) -> bool:
    async with client(node.clear_port) as raw:
        return (await raw.hear()).startswith("220")


async def test_connections_from_one_address_are_bounded_but_for_loopback(tmp_path: Path) -> None:
    async with (
        smtp_node(tmp_path, max_connections_per_ip=1) as node,
        client(node.clear_port) as first,
        client(node.clear_port) as second,
    ):
        assert (await first.hear()).startswith("220")
        assert (await second.hear()).startswith("220")


def test_an_address_has_room_for_so_many() -> None:
    connections = Connections(most=3, most_per_ip=1)
    guests = [Visitor("192.0.2.1"), Visitor("192.0.2.1"), Visitor("::1"), Visitor("::1")]
    rooms = []
    for guest in guests:
        connections.add(guest)
        rooms.append(connections.has_room_for(guest))
    assert rooms == [True, False, True, False]
    for guest in guests:
        connections.remove(guest)
    assert len(connections) == 0


class Visitor:
    def __init__(self, peer_ip: str) -> None:
        self.peer_ip = peer_ip

    def dismiss(self) -> None: ...

    def cut(self) -> None: ...


async def test_stopping_sends_the_silent_home_and_lets_a_mail_end(tmp_path: Path) -> None:
    async with (
        smtp_node(tmp_path) as node,
        client(node.clear_port) as silent,
        client(node.clear_port) as busy,
    ):
        await silent.log_in()
        await busy.reach_data()
        stopping = asyncio.create_task(node.listener.stop(10))
        assert (await silent.hear()).startswith("421 4.3.2")
        assert await silent.hear() == ""
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", node.clear_port)
        busy.writer.write(b"\r\n.\r\n")
        assert (await busy.hear()).startswith("250 2.0.0")
        assert (await busy.hear()).startswith("421 4.3.2")
        await stopping
        assert len(await node.stored()) == 1


async def test_stopping_waits_no_longer_than_its_budget(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as busy:
        await busy.reach_data()
        started = time.monotonic()
        await node.listener.stop(0.1)
        assert time.monotonic() - started < 5
        assert await busy.reader.read() == b""


async def test_stopping_does_not_wait_for_a_guesser(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, first_wait_s=30) as node, client(node.clear_port) as guesser:
        await guesser.hear()
        await guesser.say("EHLO client.test")
        await guesser.say("AUTH PLAIN AGFubgB3cm9uZyE=")
        guesser.writer.write(b"AUTH PLAIN AGFubgB3cm9uZyE=\r\n")
        started = time.monotonic()
        await node.listener.stop(0.1)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""])
@pytest.mark.parametrize("resets", [False, True])
def test_a_broken_handshake_gives_its_place_back(
    loop: Callable[[], asyncio.AbstractEventLoop], said: bytes, resets: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with smtp_node(tmp_path, max_connections=1) as node:
            async with client(node.clear_port) as raw:
                await raw.hear()
                assert (await raw.say("STARTTLS")).startswith("220")
                raw.writer.write(said)
                await raw.writer.drain()
                if resets:
                    raw.reset()
            await until(lambda: is_welcome(node))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


async def test_a_new_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        before = await asyncio.to_thread(peer_certificate, node.tls_port)
        fresh = CA.issue_cert("mx.acme.test", "127.0.0.1")
        (tmp_path / "key.pem").write_bytes(fresh.private_key_pem.bytes())
        node.listener.reload_certificates()
        assert await asyncio.to_thread(peer_certificate, node.tls_port) == before
        (tmp_path / "cert.pem").write_bytes(
            b"".join(blob.bytes() for blob in fresh.cert_chain_pems)
        )
        node.listener.reload_certificates()
        assert await asyncio.to_thread(peer_certificate, node.tls_port) != before


def peer_certificate(port: int) -> bytes:
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    with tls_context().wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
        certificate = wrapped.getpeercert(binary_form=True)
    assert certificate
    return certificate


async def test_tls_1_1_is_not_spoken(tmp_path: Path) -> None:
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with smtp_node(tmp_path) as node:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", node.tls_port, ssl=context)


async def test_an_address_in_use_is_an_error_of_the_settings(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node:
        taken = Endpoint("127.0.0.1", node.clear_port, require_tls=False)
        settings = replace(with_certificate(SETTINGS, tmp_path), endpoints=(CLEAR, taken))
        second = SmtpListener(node.door, node.authenticator, node.metrics, settings)
        with pytest.raises(ConfigError, match=str(node.clear_port)):
            await second.start()


async def test_a_line_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    async with (
        smtp_node(tmp_path, max_message_bytes=8 * MEGABYTE) as node,
        client(node.clear_port) as raw,
    ):
        await raw.reach_data()
        with traced() as peak_bytes:
            for _ in range(30):
                raw.writer.write(b"x" * MEGABYTE)
                await raw.writer.drain()
            raw.writer.write(b"\r\n.\r\n")
            assert (await raw.hear()).startswith("552 5.3.4")
            assert peak_bytes() < 20 * MEGABYTE


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Give a function that tells the most memory in use since the start."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_command_without_end_is_cut(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.hear()
        assert (await raw.say("NOOP " + "x" * 20_000)).startswith("500 5.5.2")
        assert (await raw.say("NOOP")).startswith("250 2.0.0")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                raw.writer.write(b"x" * 100_000)
                await raw.writer.drain()
        assert (await raw.hear()).startswith("421 4.7.0")


async def test_what_a_client_says_while_it_should_wait_takes_bounded_memory(
    tmp_path: Path,
) -> None:
    async with smtp_node(tmp_path, first_wait_s=30) as node, client(node.clear_port) as guesser:
        await guesser.hear()
        await guesser.say("EHLO client.test")
        await guesser.say("AUTH PLAIN AGFubgB3cm9uZyE=")
        guesser.writer.write(b"AUTH PLAIN AGFubgB3cm9uZyE=\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_much(guesser), 0.5)
        guesser.reset()
        await node.listener.stop(0)


async def write_much(raw: Raw) -> None:
    for _ in range(64):
        raw.writer.write(b"x" * MEGABYTE)
        await raw.writer.drain()


async def test_a_flood_of_line_ends_is_taken_in_passing(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, max_message_bytes=32 * MEGABYTE) as node:
        async with client(node.clear_port) as raw:
            started = time.monotonic()
            reply = await raw.send(b"\r\n" * (31 * MEGABYTE // 2 - 1))
            assert time.monotonic() - started < 15
        assert reply.startswith("250 2.0.0")


async def test_big_mails_at_once_do_not_stop_the_loop(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    content = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * (5 * MEGABYTE // 78)
    async with smtp_node(tmp_path, max_message_bytes=8 * MEGABYTE) as node:
        lag = Lag()
        watch = asyncio.create_task(lag.watch())
        replies = await asyncio.gather(*(send_big(node.clear_port, content) for _ in range(8)))
        watch.cancel()
        stored = await node.stored()
    record_property("longest_lag_s", lag.longest_s)
    assert all(reply.startswith("250 2.0.0") for reply in replies)
    assert all(mail.content.endswith(content + b"\r\n") for mail in stored)
    assert len(stored) == 8
    assert lag.longest_s < 2


async def send_big(port: int, content: bytes) -> str:
    async with client(port) as raw:
        return await raw.send(content)


class Lag:
    """How late the loop was at worst."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            await asyncio.sleep(0.001)
            self.longest_s = max(self.longest_s, loop.time() - asked - 0.001)
