"""Which addresses a call may reach: a tenant's URL must not lead into the operator's network."""

import socket
from ipaddress import ip_network

import httpcore
import pytest

from relay.net.guard import REFUSED, Guard
from relay.net.reach import Reach

PRIVATE = [
    "127.0.0.1",
    "127.255.0.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001::1",
    "2002:7f00:1::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
]
# Names that resolvers turn into loopback or "any".
DISGUISED = ["localhost", "2130706433", "0x7f.1", "127.1", "0", "::ffff:7f00:1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not Reach().allows(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111"])
def test_what_is_public_is_allowed(address: str) -> None:
    assert Reach().allows(address)


def test_loopback_is_allowed_where_the_node_says_so_and_nothing_else_with_it() -> None:
    reach = Reach(loopback=True)
    assert [a for a in PRIVATE if reach.allows(a)] == [
        "127.0.0.1",
        "127.255.0.9",
        "::1",
        "::ffff:127.0.0.1",
    ]


def test_a_private_network_is_allowed_when_it_is_listed() -> None:
    reach = Reach((ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    assert reach.allows("10.1.2.3")
    assert reach.allows("::ffff:10.1.2.3")
    assert reach.allows("fd00::1")
    assert not reach.allows("10.2.0.1")
    assert not reach.allows("127.0.0.1")


@pytest.mark.parametrize("host", [*DISGUISED, "127.0.0.1", "169.254.169.254", "::1"])
async def test_the_guard_judges_what_a_name_leads_to_before_it_connects(host: str) -> None:
    with pytest.raises(httpcore.ConnectError, match=REFUSED):
        await Guard(Reach()).connect_tcp(host, 9, timeout=2)


async def test_the_guard_connects_where_it_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = await Guard(Reach(loopback=True)).connect_tcp(
            "localhost", server.getsockname()[1], timeout=2
        )
        await stream.aclose()


async def test_a_name_that_leads_nowhere_is_a_failure_to_connect() -> None:
    with pytest.raises(httpcore.ConnectError):
        await Guard(Reach()).connect_tcp("nowhere.invalid", 80, timeout=2)


async def test_a_socket_of_this_machine_is_never_connected_to() -> None:
    with pytest.raises(httpcore.ConnectError, match=REFUSED):
        await Guard(Reach(loopback=True)).connect_unix_socket("/var/run/docker.sock")
