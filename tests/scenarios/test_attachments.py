"""Files are fetched when their mail is first due, and every attempt sends the same bytes."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.model import AccountKind, LimitBehavior
from tests.fakes.file_server import Ask, FileServer, Reply
from tests.fakes.upstream import FakeUpstream
from tests.waiting import until

from .attaching import IMPATIENT, at, contents, given, parsed, post, views
from .conftest import Relay, StartNode

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 400
LOGIN = {"method": "bearer", "token": "tenant-token"}


def by_path(ask: Ask) -> Reply:
    """Answer with what the path, or the storage path that is asked for, says."""
    if ask.method == "POST":
        return Reply(b"asked for " + json.loads(ask.body)["storage_path"].encode())
    return Reply(PDF if ask.path == "/a.pdf" else ask.path.encode())


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer(by_path) as server:
        yield server


@pytest.fixture
async def relay(start_node: StartNode, upstream: FakeUpstream, tmp_path: Path) -> Relay:
    (tmp_path / "srv").mkdir()
    relay = await start_node(**IMPATIENT, **{"attachments.roots": {"acme": [tmp_path / "srv"]}})
    await relay.tenant("acme")
    await relay.account(upstream)
    return relay


async def test_files_of_every_source_arrive_in_their_order_byte_for_byte(
    relay: Relay, upstream: FakeUpstream, files: FileServer, tmp_path: Path
) -> None:
    await relay.tenant("acme", client_base_url=files.url)
    (tmp_path / "srv" / "notes.txt").write_bytes(b"from disk\n")
    accepted = await post(
        relay,
        at(f"{files.url}/a.pdf", "a.pdf"),
        given(b"given"),
        at("doc=7", "Приложение.csv"),
        at(str(tmp_path / "srv" / "notes.txt"), "notes.txt"),
        html='<img src="cid:logo">',
        inline=[at(f"{files.url}/logo", "logo.png", content_id="logo")],
    )
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [PDF, b"given", b"asked for doc=7", b"from disk\n"]
    message = parsed(mail)
    names = [part.get_filename() for part in message.iter_attachments()]
    assert names == ["a.pdf", "given.bin", "Приложение.csv", "notes.txt"]
    [image] = [part for part in message.walk() if part["Content-ID"] == "<logo>"]
    assert image.get_content_type() == "image/png"
    assert image.get_payload(decode=True) == b"/logo"
    await relay.settled(accepted.pk, "sent")
    shown = [(v.mode, v.state, v.got, v.size_bytes) for v in await views(relay, accepted)]
    assert shown == [
        ("http_url", "inserted", "fetched", 5),
        ("http_url", "inserted", "fetched", len(PDF)),
        ("base64", "inserted", "given", 5),
        ("endpoint", "inserted", "fetched", 15),
        ("filesystem", "inserted", "fetched", 10),
    ]
    assert files.asks[-1].headers["accept-encoding"] == "identity"


async def test_retries_send_the_same_bytes_and_fetch_nothing_again(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    upstream.on["DOT"] = ["451 4.3.0 later", "451 4.3.0 later"]
    accepted = await post(relay, at(f"{files.url}/a.pdf"))
    await relay.settled(accepted.pk, "sent")
    first, second, third = *upstream.cut, *upstream.received
    assert first.content == second.content == third.content
    assert len(files.asks) == 1


async def test_what_a_node_had_not_fetched_the_next_one_fetches(
    relay: Relay, start_node: StartNode, upstream: FakeUpstream, files: FileServer
) -> None:
    files.answer = lambda _ask: Reply(hangs=True, length=5)
    await post(relay, at(f"{files.url}/a.pdf"))
    await files.wait_for(1)
    await relay.stop()
    files.answer = by_path
    await start_node(**IMPATIENT)
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [PDF]


async def test_a_file_is_not_fetched_before_its_account_may_send(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    await relay.account(upstream, limit_per_hour=1)
    await relay.settled((await relay.send()).pk, "sent")
    accepted = await post(relay, at(f"{files.url}/a.pdf"))
    lane = "acme/=main"

    async def is_full() -> bool:
        return "rate limit" in (relay.node.dispatcher.why_waiting(lane) or "")

    await until(is_full)
    assert await relay.states(accepted.pk) == ["queued"]
    assert files.connections == 0


async def test_an_account_that_rejects_at_its_limit_fetches_nothing(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    await relay.account(upstream, limit_per_hour=1, limit_behavior=LimitBehavior.REJECT)
    await relay.settled((await relay.send()).pk, "sent")
    accepted = await post(relay, at(f"{files.url}/a.pdf"))
    view = await relay.settled(accepted.pk, "failed")
    assert "rate limit" in (view.recipients[0].reply or "")
    assert files.connections == 0


async def test_a_slow_source_holds_up_no_other_mail_of_its_account(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    await relay.account(upstream, max_connections=1)
    files.answer = lambda _ask: Reply(hangs=True, length=5)
    for n in range(3):
        await post(relay, at(f"{files.url}/slow"), id=f"slow-{n}")
    await files.wait_for(3)
    quick = await relay.send()
    await relay.settled(quick.pk, "sent")


async def test_a_mail_kept_for_looking_at_has_its_files(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    await relay.account(upstream, kind=AccountKind.CAPTURE)
    accepted = await post(relay, at(f"{files.url}/a.pdf"))
    await relay.settled(accepted.pk, "sent")
    content = await relay.node.stores.messages.content(accepted.pk)
    assert content is not None
    assert b"JVBERi0xLjcK" in content


async def test_a_tenants_login_goes_to_its_own_server_only(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    async with FileServer(by_path) as foreign:
        await relay.tenant("acme", client_base_url=f"{files.url}/base", client_auth=LOGIN)
        await post(
            relay,
            at("doc=1"),
            at(f"{files.url}/own"),
            at(f"{foreign.url}/foreign"),
            at(f"{foreign.url}/x", auth={"method": "basic", "user": "u", "password": "p"}),
            at("doc=2", auth={"method": "bearer", "token": "its-own"}),
        )
        await upstream.wait_for(1)
        asked = [(ask.path, ask.headers.get("authorization")) for ask in files.asks]
        assert asked == [
            ("/base/mail-proxy/attachments", "Bearer tenant-token"),
            ("/own", "Bearer tenant-token"),
            ("/base/mail-proxy/attachments", "Bearer its-own"),
        ]
        assert [ask.headers.get("authorization") for ask in foreign.asks] == [None, "Basic dTpw"]


async def test_the_tenant_says_where_its_server_is_asked(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    await relay.tenant("acme", client_base_url=files.url, client_attachment_path="//elsewhere.test")
    await post(relay, at("doc=1"))
    await upstream.wait_for(1)
    assert files.paths == ["/elsewhere.test"]
    assert json.loads(files.asks[0].body) == {"storage_path": "doc=1"}


async def test_files_that_make_a_mail_too_large_fail_it(
    start_node: StartNode, upstream: FakeUpstream, files: FileServer
) -> None:
    relay = await start_node(**IMPATIENT, **{"limits.max_message_bytes": 200_000})
    await relay.tenant("acme")
    await relay.account(upstream)
    accepted = await post(
        relay, at(f"{files.url}/a.pdf", "first.pdf"), at(f"{files.url}/a.pdf", "second.pdf")
    )
    view = await relay.settled(accepted.pk, "failed")
    assert (view.recipients[0].reply or "").startswith("attachment second.pdf: is larger than ")
    assert upstream.received == []


@pytest.mark.parametrize(("size_bytes", "tier"), [(1000, "memory"), (300_000, "disk")])
async def test_a_file_with_a_declared_md5_is_fetched_once_for_its_tenant(
    relay: Relay, upstream: FakeUpstream, files: FileServer, size_bytes: int, tier: str
) -> None:

    data = bytes(size_bytes)
    md5 = hashlib.md5(data).hexdigest()
    files.answer = lambda _ask: Reply(data)
    await relay.tenant("rival")
    await relay.account(upstream, tenant_id="rival")
    first = await post(relay, at(f"{files.url}/1", f"a_{{MD5:{md5}}}.bin"))
    await relay.settled(first.pk, "sent")
    again = await post(relay, at(f"{files.url}/2", content_md5=md5), id="m2")
    await relay.settled(again.pk, "sent")
    assert files.paths == ["/1"]
    assert [view.got for view in await views(relay, again)] == [tier]
    foreign = await post(relay, at(f"{files.url}/3", content_md5=md5), tenant_id="rival")
    await relay.settled_in("rival", foreign.pk)
    assert files.paths == ["/1", "/3"]
    assert [contents(mail) for mail in upstream.received] == [[data]] * 3
    metrics, _ = relay.node.metrics.render()
    assert f'pillarbox_cache_hits_total{{tier="{tier}"}} 1.0'.encode() in metrics
    assert f'pillarbox_cache_misses_total{{tier="{tier}"}} 2.0'.encode() in metrics
    assert b"pillarbox_attachment_fetch_seconds_count 2.0" in metrics


async def test_what_has_another_md5_than_declared_is_sent_and_never_kept_under_it(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    for n in range(2):
        file = at(f"{files.url}/{n}", content_md5="0" * 32)
        accepted = await post(relay, file, id=f"m{n}")
        await relay.settled(accepted.pk, "sent")
    assert files.paths == ["/0", "/1"]
    assert [contents(mail) for mail in upstream.received] == [[b"/0"], [b"/1"]]
