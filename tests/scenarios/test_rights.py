"""Who may send: logins that are lost in the middle of a session, and networks that need none."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from relay.errors import ContentRefused
from relay.formats.headers import scan
from relay.ingress.networks import covering, public_networks
from relay.ingress.submission import authors
from relay.model import Credential, SecretKind, Tenant
from relay.store.directory import Admission
from tests.scenarios.raw_client import Raw, client
from tests.scenarios.smtp_node import LOGINS, smtp_node

MAIL = b"From: <ann@acme.test>\r\n\r\nhi"
HERE = "127.0.0.0/8"
BOB = "AUTH PLAIN AGJvYgBzZWNyZXQ="


def networked(username: str, *networks: str, tenant_id: str = "acme") -> Credential:
    return Credential(username, tenant_id, SecretKind.SHA256, "none", networks=networks)


async def greet(raw: Raw) -> None:
    await raw.hear()
    await raw.say("EHLO printer.test")


async def finish(raw: Raw, content: bytes = MAIL) -> str:
    raw.writer.write(content + b"\r\n.\r\n")
    return await raw.hear()


async def test_a_login_revoked_while_its_mail_comes_in_stores_nothing(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        await node.credentials.delete("acme", "ann")
        assert await finish(raw) == "421 4.7.0 This login is not valid any more"
        assert await raw.hear() == ""
        assert await node.stored() == []


async def test_a_tenant_switched_off_while_its_mail_comes_in_stores_nothing(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        await node.tenants.save(Tenant("acme", "Acme", active=False))
        assert (await finish(raw)).startswith("421 4.7.0")
        assert await node.stored() == []


async def test_rights_narrowed_while_a_mail_comes_in_count_for_it(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await raw.reach_data()
        await node.credentials.save(replace(LOGINS[0], senders=("*@other.test",)))
        assert (await finish(raw)).startswith("550 5.7.1")
        assert await raw.say("NOOP") == "250 2.0.0 Ok"
        assert await node.stored() == []


@pytest.mark.parametrize(
    "author",
    [
        b"From: bob@acme.test\r\nFrom: boss@other.test",
        b'From: "bob@acme.test" <boss@other.test>',
        b"From: bob@acme.test,\r\n boss@other.test",
        b"From : boss@other.test",
        b"FROM: (bob@acme.test) boss@other.test",
        b"From: =?utf-8?q?bob=40acme.test?= <boss@other.test>",
    ],
)
async def test_no_author_hides_behind_another(tmp_path: Path, author: bytes) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await greet(raw)
        await raw.say(BOB)
        await raw.say("MAIL FROM:<bob@acme.test>")
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        reply = await finish(raw, author + b"\r\n\r\nhi")
        assert reply.startswith("550 5.7.1 this login may not send as <boss@other.test>")
        assert await node.stored() == []


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"From: bob@acme.test\r\nbroken\r\nFrom: boss@other.test\r\n\r\nhi", "550 5.6.0"),
        (b"From: bob@acme.test\r\nbroken\r\nX: y\r\n\r\nFrom: boss@other.test", "250 2.0.0"),
        (b"no header\r\nFrom: boss@other.test\r\n", "250 2.0.0"),
    ],
)
async def test_no_author_hides_behind_a_broken_line(
    tmp_path: Path, content: bytes, reply: str
) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await greet(raw)
        await raw.say(BOB)
        await raw.say("MAIL FROM:<bob@acme.test>")
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        assert (await finish(raw, content)).startswith(reply)


def test_thousands_of_authors_are_not_looked_at() -> None:
    many = "From: " + "a@é," * 20_000 + "a@b.test\r\n"
    with pytest.raises(ContentRefused, match="From is too long"):
        authors(scan(many.encode()))


async def test_an_address_in_the_networks_of_a_login_needs_no_password(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.port) as raw:
        await greet(raw)
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("530 5.7.0")
        await node.credentials.save(networked("printer", HERE))
        assert await raw.say("MAIL FROM:<ann@acme.test>") == "250 2.1.0 Ok"
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        assert (await finish(raw)).startswith("250 2.0.0")
        (mail,) = await node.stored()
    assert b" with ESMTP\r\n" in mail.content  # RFC 3848: A is for who logged in


async def test_a_network_may_send_only_as_its_login_may(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        printer = replace(networked("printer", HERE), senders=("scan@acme.test",))
        await node.credentials.save(printer)
        await greet(raw)
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("550 5.7.1")
        assert await raw.say("MAIL FROM:<scan@acme.test>") == "250 2.1.0 Ok"


async def test_a_network_taken_away_ends_the_mail_under_way(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await node.credentials.save(networked("printer", HERE))
        await greet(raw)
        await raw.envelope()
        await raw.say("DATA")
        await node.credentials.save(networked("printer", "10.0.0.0/8"))
        assert (await finish(raw)).startswith("530 5.7.0")
        assert await node.stored() == []


async def test_a_login_goes_before_a_network(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await node.credentials.save(networked("printer", HERE))
        await greet(raw)
        await raw.say(BOB)
        assert (await raw.say("MAIL FROM:<ann@other.test>")).startswith("550 5.7.1")


async def test_an_address_in_the_networks_of_two_tenants_is_neithers(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await node.tenants.save(Tenant("evil", "Evil"))
        await node.credentials.save(networked("printer", HERE))
        await node.credentials.save(networked("thief", "127.0.0.1/32", tenant_id="evil"))
        await greet(raw)
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("530 5.7.0")


async def test_the_networks_of_an_inactive_tenant_or_login_open_nothing(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await node.credentials.save(replace(networked("printer", HERE), active=False))
        await greet(raw)
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("530 5.7.0")
        await node.credentials.save(networked("printer", HERE))
        await node.tenants.save(Tenant("acme", "Acme", active=False))
        assert (await raw.say("MAIL FROM:<ann@acme.test>")).startswith("530 5.7.0")


def test_the_narrowest_network_counts_in_both_families() -> None:
    wide, narrow, six = (
        networked("wide", "10.0.0.0/8"),
        networked("narrow", "10.1.0.0/16"),
        networked("six", "fd00::/8"),
    )
    admissions = [
        Admission(ipaddress.ip_network(login.networks[0]), login) for login in (wide, narrow, six)
    ]
    found = {ip: covering(admissions, ip) for ip in ("10.1.2.3", "10.2.2.3", "fd00::1", "8.8.8.8")}
    assert [one.credential.username for one in found["10.1.2.3"]] == ["narrow", "wide"]
    assert [one.credential.username for one in found["10.2.2.3"]] == ["wide"]
    assert [one.credential.username for one in found["fd00::1"]] == ["six"]
    assert found["8.8.8.8"] == covering(admissions, "") == []


def test_networks_that_anybody_may_be_in_are_named() -> None:
    login = networked("x", "10.0.0.0/8", "8.8.8.0/24", "0.0.0.0/0", "fd00::/8", "2a00::/16")
    assert public_networks(login) == ["8.8.8.0/24", "0.0.0.0/0", "2a00::/16"]


async def test_what_was_repaired_is_counted_by_login(tmp_path: Path) -> None:
    async with smtp_node(tmp_path) as node, client(node.clear_port) as raw:
        await greet(raw)
        await raw.say("AUTH PLAIN AG9sZABzZWNyZXQ=")
        await raw.say("MAIL FROM:old@acme.test")
        await raw.say("RCPT TO:<x@there.test>")
        await raw.say("DATA")
        assert (await finish(raw, b"one\ntwo")).startswith("250 2.0.0")
        told = node.metrics.render()[0].decode()
    for repair in ("bare_lf", "no_brackets"):
        labels = f'credential="old",repair="{repair}",tenant="acme"'
        assert f"pillarbox_legacy_repairs_total{{{labels}}} 1.0" in told
