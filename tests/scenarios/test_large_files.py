"""Files that are too big to travel: warned of, refused, or sent as links."""

import asyncio
import base64
import re
import smtplib
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path

import httpx
import pytest

from relay.crypto import digest
from relay.errors import Refused
from relay.model import Credential, Ingress, SecretKind
from relay.store.destroy import destroy
from relay.store.files import FileStore
from tests.fakes.file_server import FileServer, Reply
from tests.fakes.upstream import FakeUpstream
from tests.scenarios.attaching import at, contents, given, post, views
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.large_mail import (
    BASE,
    BIG,
    SMALL,
    config,
    mail_with,
    served,
    signed,
    untouched,
)
from tests.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.mark.parametrize("ingress", [Ingress.SMTP, Ingress.REST])
async def test_a_large_file_leaves_as_a_link_and_the_rest_as_it_came(
    relay: Relay, upstream: FakeUpstream, folder: Path, ingress: Ingress
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    content = mail_with(("big.pdf", BIG), ("small.pdf", SMALL))
    accepted = await relay.send(content=content, ingress=ingress)
    await relay.settled(accepted.pk, "sent")
    (sent,) = upstream.received
    assert untouched(sent.content) == untouched(content)[1:]
    link = re.search(rb"big\.pdf \(65\.0 KB\):\r\n(\S+)\r\n", sent.content)
    assert link
    assert link[1].startswith(f"{BASE}/download/".encode())
    (stored,) = folder.glob("acme/*")
    assert stored.read_bytes() == BIG
    text, html = (
        part.get_content()
        for part in message_from_bytes(sent.content, policy=policy.default).walk()
        if part.get_content_maintype() == "text"
    )
    assert text.startswith("Hello, here they are.")
    assert f'href="{link[1].decode()}"' in html


async def test_whoever_has_the_link_gets_the_file_until_it_has_ended(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    async with served(relay) as url, httpx.AsyncClient(trust_env=False) as client:
        await relay.tenant("acme", large_file_config=config(folder, public_base_url=f"{url}/"))
        await relay.account(upstream)
        accepted = await post(relay, given(BIG, "Übersicht.pdf"))
        await relay.settled(accepted.pk, "sent")
        (view,) = await views(relay, accepted)
        assert view.link
        answer = await client.get(view.link)
        assert (answer.status_code, answer.content) == (200, BIG)
        assert answer.headers["content-type"] == "application/pdf"
        await destroy(relay.node.database, "acme")
        assert (await client.get(view.link)).status_code == 410


async def test_what_became_of_the_file_is_told_with_the_message(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
    await relay.settled(accepted.pk, "sent")
    (view,) = await relay.node.stores.attachments.views(accepted.pk)
    assert (view.filename, view.state, view.size_bytes) == ("big.pdf", "linked", len(BIG))
    assert view.link
    assert view.link.encode() in upstream.received[0].content


async def test_a_signed_mail_is_sent_as_it_is_and_says_so(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    content = signed(mail_with(("big.pdf", BIG)))
    accepted = await relay.send(content=content)
    await relay.settled(accepted.pk, "sent")
    assert upstream.received[0].content.endswith(content)
    assert not folder.exists()
    (warned,) = [
        e for e in await relay.node.stores.messages.events(accepted.pk) if e.kind == "warned"
    ]
    assert "big.pdf (65.0 KB)" in str(warned.data["reason"])
    assert "signed" in str(warned.data["reason"])


@pytest.mark.parametrize("wrap", [bytes, signed])
async def test_a_large_file_is_refused_where_its_tenant_wants_none(
    relay: Relay, upstream: FakeUpstream, folder: Path, wrap: type[bytes]
) -> None:
    await relay.tenant("acme", large_file_config=config(folder, action="reject"))
    await relay.account(upstream)
    with pytest.raises(Refused) as refused:
        await relay.send(content=wrap(mail_with(("big.pdf", BIG))))
    assert (refused.value.reason, refused.value.code) == ("too large", 552)
    several = mail_with(*((f"{n}.pdf", SMALL * 20) for n in range(5)))
    accepted = await relay.send(content=several)
    await relay.settled(accepted.pk, "sent")


async def test_a_large_file_is_sent_and_warned_of(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder, action="warn"))
    await relay.account(upstream)
    content = mail_with(("big.pdf", BIG))
    accepted = await relay.send(content=content)
    await relay.settled(accepted.pk, "sent")
    assert upstream.received[0].content.endswith(content)
    assert "warned" in await relay.kinds(accepted.pk)


async def test_a_mail_waits_while_its_file_cannot_be_stored(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    folder.write_text("in the way")
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
    view = await relay.settled(accepted.pk, "deferred")
    assert "cannot be stored" in (view.recipients[0].reply or "")
    assert not upstream.received
    folder.unlink()
    await relay.settled(accepted.pk, "sent")
    (stored,) = folder.glob("acme/*")
    assert stored.read_bytes() == BIG
    assert base64.b64encode(BIG[:57]) not in upstream.received[0].content


async def test_files_are_removed_when_they_have_ended(
    start_node: StartNode, upstream: FakeUpstream, folder: Path
) -> None:
    relay = await start_node(**{"large_files.remove_every_s": 0.1})
    await relay.tenant("acme", large_file_config=config(folder, file_ttl_days=0.5 / 86_400))
    await relay.account(upstream)
    accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
    await relay.settled(accepted.pk, "sent")

    async def gone() -> bool:
        rows = await relay.node.database.fetch("SELECT id FROM files")
        return not rows and not list(folder.glob("acme/*"))

    await until(gone)
    assert await FileStore(relay.node.database).ended(10) == []


async def test_the_same_bytes_go_out_again(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    upstream.on["DOT"] = ["451 4.3.0 later"]
    accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
    await relay.settled(accepted.pk, "sent")
    assert len(list(folder.glob("acme/*"))) == 1
    assert upstream.cut[0].content == upstream.received[0].content


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    async with FileServer(lambda _ask: Reply(BIG)) as server:
        yield server


async def test_fetched_and_given_files_become_links_and_are_told_once(
    relay: Relay, upstream: FakeUpstream, server: FileServer, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    fetched, small = at(f"{server.url}/a", "fetched.pdf"), given(SMALL, "small.pdf")
    accepted = await post(relay, fetched, given(BIG + b"!", "given.pdf"), small)
    await relay.settled(accepted.pk, "sent")
    (sent,) = upstream.received
    assert contents(sent) == [SMALL]
    told = await views(relay, accepted)
    assert [(view.filename, view.state) for view in told] == [
        ("fetched.pdf", "linked"),
        ("given.pdf", "linked"),
        ("small.pdf", "inserted"),
    ]
    for view in told[:2]:
        assert view.link
        # The text is ASCII, so it travels as it is.
        assert view.link.encode() in sent.content
    assert sorted(path.read_bytes() for path in folder.glob("acme/*")) == [BIG, BIG + b"!"]


async def test_a_link_is_found_in_the_mail_as_it_travels_whatever_the_language(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    accepted = await post(relay, given(BIG, "Präsentation.pdf"), text="Grüße aus Köln")
    await relay.settled(accepted.pk, "sent")
    (view,) = await views(relay, accepted)
    assert view.link
    assert f"\r\n{view.link}\r\n".encode() in upstream.received[0].content


async def test_a_file_larger_than_any_mail_goes_as_a_link(
    start_node: StartNode, upstream: FakeUpstream, server: FileServer, folder: Path
) -> None:
    relay = await start_node(**{"limits.max_message_bytes": 30_000})
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    accepted = await post(relay, at(f"{server.url}/a", "fetched.pdf"))
    await relay.settled(accepted.pk, "sent")
    (stored,) = folder.glob("acme/*")
    assert stored.read_bytes() == BIG


async def test_a_fetched_file_that_is_too_large_fails_the_mail_with_a_reason(
    relay: Relay, upstream: FakeUpstream, server: FileServer, folder: Path
) -> None:
    await relay.tenant("acme", large_file_config=config(folder, action="reject"))
    await relay.account(upstream)
    accepted = await post(relay, at(f"{server.url}/a", "fetched.pdf"))
    view = await relay.settled(accepted.pk, "failed")
    assert "too large: fetched.pdf (65.0 KB); the limit is 21.0 KB" in str(view.recipients[0].reply)
    assert not upstream.received


async def test_a_mail_by_smtp_is_taken_whole_or_answered_552(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.account(upstream)
    login = Credential("printer", "acme", SecretKind.SHA256, digest("secret"))
    await relay.node.stores.credentials.save(login)
    content = mail_with(("big.pdf", BIG))
    await relay.tenant("acme", large_file_config=config(folder, action="reject"))
    code, text = await asyncio.to_thread(submit, relay, content)
    assert (code, b"5.3.4" in text, b"big.pdf" in text) == (552, True, True)
    await relay.tenant("acme", large_file_config=config(folder))
    code, _ = await asyncio.to_thread(submit, relay, content)
    assert code == 250
    [sent] = await upstream.wait_for(1)
    assert f"{BASE}/download/".encode() in sent.content
    assert untouched(sent.content) == []


def submit(relay: Relay, content: bytes) -> tuple[int, bytes]:
    """Send a mail by SMTP and return the answer to its end; blocks the thread."""
    _, host, port = relay.node.smtp.addresses[0]
    with smtplib.SMTP(host, port, timeout=20) as client:
        client.login("printer", "secret")
        client.mail("app@acme.test")
        client.rcpt("bob@there.test")
        return client.data(content)


async def test_a_mail_whose_parts_cannot_be_told_is_sent_as_it_is_or_refused(
    relay: Relay, upstream: FakeUpstream, folder: Path
) -> None:
    await relay.account(upstream)
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    content = head + b"--b\r\n\r\nx\r\n" * 3000 + b"--b--\r\n"
    await relay.tenant("acme", large_file_config=config(folder))
    accepted = await relay.send(content=content)
    await relay.settled(accepted.pk, "sent")
    assert upstream.received[0].content.endswith(content)
    assert "warned" in await relay.kinds(accepted.pk)
    await relay.tenant("acme", large_file_config=config(folder, action="reject"))
    with pytest.raises(Refused, match="too many parts"):
        await relay.send(content=content)
