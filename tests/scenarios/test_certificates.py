"""Which certificate a client gets, and which TLS is spoken."""

import asyncio
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from trustme import LeafCert

from relay.errors import ConfigError
from relay.ingress.smtp import Endpoint
from relay.ingress.smtp.tls import Certificates, Pair
from tests.scenarios.raw_client import client
from tests.scenarios.smtp_node import CA, INSIDE_TLS, SmtpNode, smtp_node

OLD = Endpoint("127.0.0.1", 0, require_tls=True, implicit_tls=True, old_tls=True)
OLD_LOGIN = "AUTH PLAIN AG9sZABzZWNyZXQ="


def write(folder: Path, name: str, *hosts: str) -> Path:
    path = folder / name
    leaf: LeafCert = CA.issue_cert(*hosts)
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    return path


def context_for(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


async def names_shown(node: SmtpNode, asked: str) -> set[str]:
    """Return the host names in the certificate that a client gets who asks for a host."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.check_hostname = False
    _, writer = await asyncio.open_connection(
        "127.0.0.1", node.tls_port, ssl=context, server_hostname=asked
    )
    shown = writer.get_extra_info("peercert")
    writer.close()
    return {name for kind, name in shown["subjectAltName"] if kind == "DNS"}


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_gets_the_certificate_for_the_host_it_asks_for(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    more = (
        write(tmp_path, "b.pem", "mail.b.test", "mx.acme.test"),
        write(tmp_path, "c.pem", "*.c.test"),
    )

    async def scenario() -> None:
        async with smtp_node(tmp_path, more_certs=more) as node:
            assert await names_shown(node, "mail.b.test") == {"mail.b.test", "mx.acme.test"}
            assert await names_shown(node, "MAIL.C.test") == {"*.c.test"}
            assert await names_shown(node, "a.b.c.test") == {"mx.acme.test"}
            assert await names_shown(node, "mx.acme.test") == {"mx.acme.test"}
            assert await names_shown(node, "other.test") == {"mx.acme.test"}
            write(tmp_path, "b.pem", "new.b.test")
            node.listener.reload_certificates()
            assert await names_shown(node, "new.b.test") == {"new.b.test"}
            assert await names_shown(node, "mail.b.test") == {"mx.acme.test"}

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_spoken_only_where_the_listener_says_so(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with smtp_node(tmp_path, endpoints=(OLD, INSIDE_TLS)) as node:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", node.tls_port, ssl=context_for(version))
        async with client(node.ports[OLD], tls=context_for(version)) as raw:
            await raw.hear()
            await raw.say("EHLO printer.test")
            await raw.say(OLD_LOGIN)
            await raw.envelope()
            await raw.say("DATA")
            raw.writer.write(b"\r\nhi\r\n.\r\n")
            assert (await raw.hear()).startswith("250 2.0.0")
        assert await node.repairs() == ["old_tls"]


async def test_new_tls_is_spoken_where_the_old_is_too(tmp_path: Path) -> None:
    async with smtp_node(tmp_path, endpoints=(OLD,)) as node:
        async with client(node.ports[OLD], tls=context_for(ssl.TLSVersion.TLSv1_3)) as raw:
            assert (await raw.send(b"\r\nhi")).startswith("250 2.0.0")
        assert await node.repairs() == []


def test_a_file_that_is_no_certificate_is_an_error_of_the_settings(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=r"pem|certificate"):
            Certificates([Pair(path, path)])


def test_a_damaged_file_leaves_the_old_certificate_in_service(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.pem", "a.test"), write(tmp_path, "b.pem", "b.test")
    certificates = Certificates([Pair(first, first), Pair(second, second)])
    second.write_text("")
    with pytest.raises(ConfigError):
        certificates.reload()
    write(tmp_path, "b.pem", "b.test")
    assert certificates.reload()
    assert not certificates.reload()
