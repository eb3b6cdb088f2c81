"""Load balancers that say whose connection they hand on, and those who only pretend."""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from relay.ingress.smtp.proxy import SIGNATURE, BadHeader, source_v1, source_v2
from relay.model import Credential, SecretKind
from tests.scenarios.raw_client import Raw
from tests.scenarios.smtp_node import CA, SmtpNode, smtp_node

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"),)
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 51234 25\r\n"
V1_SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 25\r\n"
V2 = (
    SIGNATURE + b"\x21\x11\0\x0f" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 200, 1, 0, 25]) + b"\x04\0\0"
)
V2_LOCAL = SIGNATURE + b"\x20\0\0\0"


@asynccontextmanager
async def balanced(port: int, header: bytes) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(header)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def received_from(node: SmtpNode, header: bytes) -> bytes:
    """Send a mail behind a header; return what its Received says of the client."""
    async with balanced(node.clear_port, header) as raw:
        assert (await raw.send(b"\r\nhi")).startswith("250 2.0.0")
    return (await node.stored())[-1].content.partition(b"\r\n")[0]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_client_is_whom_the_balancer_names(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with smtp_node(tmp_path, proxy_networks=HERE) as node:
            assert b"([192.0.2.7])" in await received_from(node, V1)
            assert b"([IPv6:2001:db8::7])" in await received_from(node, V1_SIX)
            assert b"([192.0.2.7])" in await received_from(node, V2)
            assert b"([127.0.0.1])" in await received_from(node, V2_LOCAL)
            assert b"([127.0.0.1])" in await received_from(node, b"PROXY UNKNOWN\r\n")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
async def test_a_balancer_that_names_nobody_is_not_served(tmp_path: Path, header: bytes) -> None:
    async with (
        smtp_node(tmp_path, proxy_networks=HERE) as node,
        balanced(node.clear_port, header) as raw,
    ):
        with contextlib.suppress(ConnectionError):
            assert await raw.reader.read() == b""


async def test_who_is_no_balancer_speaks_for_itself(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, proxy_networks=ELSEWHERE) as node:
        assert b"([127.0.0.1])" in await received_from(node, b"")
        async with balanced(node.clear_port, V1) as raw:
            assert (await raw.hear()).startswith("220")
            assert (await raw.hear()).startswith("500 5.5.1")


async def test_a_header_where_no_balancer_is_known_is_a_bad_command(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, balanced(node.clear_port, V1) as raw:
        assert (await raw.hear()).startswith("220")
        assert (await raw.hear()).startswith("500 5.5.1")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls_begins_right_behind_the_header(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with smtp_node(tmp_path, proxy_networks=HERE) as node:
            assert (await greeting_in_tls(node.tls_port)).startswith(b"220 mx.acme.test")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


async def greeting_in_tls(port: int) -> bytes:
    """Say header and ClientHello in one segment."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context.wrap_bio(incoming, outgoing, server_hostname="mx.acme.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        wrapped.do_handshake()
    async with balanced(port, V2 + outgoing.read()) as raw:
        while True:
            try:
                return wrapped.read(100)
            except ssl.SSLWantReadError:
                raw.writer.write(outgoing.read())
                incoming.write(await raw.reader.read(65_536))


async def test_the_caps_and_the_networks_are_about_the_named_client(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, proxy_networks=HERE, max_connections_per_ip=1) as node:
        login = Credential("p", "acme", SecretKind.SHA256, "none", networks=("192.0.2.0/24",))
        await node.credentials.save(login)
        async with balanced(node.clear_port, V1) as first, balanced(node.clear_port, V2) as second:
            greetings = {await first.hear(): first, await second.hear(): second}
            assert greetings.pop("421 4.7.0 Too many connections")
            (served,) = greetings.values()
            await served.say("EHLO client.test")
            assert (await served.say("MAIL FROM:<a@acme.test>")).startswith("250")
        async with balanced(node.clear_port, V1_SIX) as other:
            await other.hear()
            await other.say("EHLO client.test")
            assert (await other.say("MAIL FROM:<a@acme.test>")).startswith("530")


@given(st.binary(max_size=120), st.integers(0, 255), st.integers(0, 255))
def test_no_header_raises_anything_but_bad_header(octets: bytes, first: int, second: int) -> None:
    found: list[str | None] = []
    with contextlib.suppress(BadHeader):
        found.append(source_v1(octets))
    with contextlib.suppress(BadHeader):
        found.append(source_v1(b"PROXY TCP4 " + octets + b" 192.0.2.1 1 2\r\n"))
    with contextlib.suppress(BadHeader):
        found.append(source_v2(first, second, octets))
    assert all(ip is None or ipaddress.ip_address(ip) for ip in found)
