"""A real Postfix that sends through the relay, as a null client or a gateway does: `relayhost`,
with a login (SASL) inside verified TLS.
"""

import asyncio
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.conftest import Doors
from tests.peers.private_postfix import PrivatePostfix, free_ports
from tests.scenarios.conftest import Relay

pytestmark = [pytest.mark.peers("postfix"), pytest.mark.peers("sasl")]

SETTINGS = """
myhostname = gateway.acme.test
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [localhost]:{doors.port}
smtp_host_lookup = native
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = nexthop
smtp_tls_CAfile = {doors.ca_file}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{
    {{[localhost]:{doors.port} = {doors.user}:{doors.password}}} }}
"""
MAIL = (
    b"From: Billing <app@acme.test>\r\nTo: bob@there.test\r\nSubject: one\r\n\r\n"
    b".a dot\r\ngr\xc3\xbc\xc3\x9fe\r\n" + b"x" * 990 + b"\r\n"
)


@pytest.fixture
def gateway(doors: Doors) -> Iterator[int]:
    """Run a Postfix whose mail leaves through the relay; give its port."""
    (port,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-gateway-"))
    postfix = PrivatePostfix(folder, SETTINGS.format(doors=doors), {port: ""})
    try:
        postfix.lay_out()
        postfix.start()
        yield port
    finally:
        postfix.stop()


def send(port: int, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as server:
        for _ in range(count):
            server.sendmail("app@acme.test", ["bob@there.test", "eve@there.test"], MAIL)


async def test_postfix_sends_all_of_its_mail_through_us(
    relay: Relay, doors: Doors, gateway: int
) -> None:
    async with FakeUpstream() as upstream:
        await relay.account(upstream)
        await asyncio.to_thread(send, gateway, 20)
        received = await upstream.wait_for(20, timeout_s=30)
    for mail in received:
        assert mail.sender == "app@acme.test"
        assert sorted(mail.recipients) == ["bob@there.test", "eve@there.test"]
        assert mail.content.endswith(MAIL.partition(b"\r\n\r\n")[2])
        assert b"with ESMTPSA\r\n" in mail.content
