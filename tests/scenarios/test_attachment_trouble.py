"""Sources that misbehave, and sources that must not be asked: cut, told, and nothing lost."""

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.file_server import FileServer, Reply
from tests.fakes.upstream import FakeUpstream

from .attaching import IMPATIENT, at, contents, post
from .conftest import Relay, StartNode

FILE = b"the file"
TOO_MUCH = 300_000

LATER = {
    "500": (Reply(status=500), "its server answered 500"),
    "503": (Reply(status=503), "its server answered 503"),
    "429": (Reply(status=429), "its server answered 429"),
    "hangs before the body": (
        Reply(hangs=True, length=8),
        "its server did not send it in time",
    ),
    "drips": (Reply(bytes(1000), drip_s=0.01), "its server sends it too slowly"),
    "closes in the middle": (Reply(b"the", length=8), "no whole answer came from its server"),
    "closes at once": (Reply(raw=b""), "no whole answer came from its server"),
    "is no HTTP": (Reply(raw=b"220 mail.internal ESMTP\r\n"), "no whole answer came"),
    "breaks HTTP": (Reply(headers={"Content-Length": "x"}), "no whole answer came"),
}
NEVER = {
    "404": (Reply(status=404), "its server answered 404"),
    "410": (Reply(status=410), "its server answered 410"),
    "403": (Reply(status=403), "its server answered 403"),
    "204": (Reply(status=204), "its server answered 204"),
    "says that it is too much": (Reply(length=TOO_MUCH), "is larger than"),
    "is endless": (Reply(length=-1, is_endless=True), "is larger than"),
    "is compressed": (
        Reply(gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"}),
        "its server sends it compressed",
    ),
}


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer(lambda _ask: Reply(FILE)) as server:
        yield server


@pytest.fixture
async def relay(start_node: StartNode, upstream: FakeUpstream) -> Relay:
    relay = await start_node(**IMPATIENT, **{"limits.max_message_bytes": 200_000})
    await relay.tenant("acme")
    await relay.account(upstream)
    return relay


async def replies(relay: Relay, pk: str) -> list[str]:
    """What was told of each attempt."""
    attempts = await relay.node.stores.messages.attempts(pk)
    return [str(a.outcomes[0]["reply"]) for a in attempts]


@pytest.mark.parametrize("trouble", LATER)
async def test_what_may_pass_defers_the_mail_and_the_next_attempt_sends_it(
    relay: Relay, upstream: FakeUpstream, files: FileServer, trouble: str
) -> None:
    reply, reason = LATER[trouble]
    files.answer = lambda _ask: reply if not files.asks else Reply(FILE)
    accepted = await post(relay, at(f"{files.url}/a", "a.bin"))
    await relay.settled(accepted.pk, "sent")
    [mail] = upstream.received
    assert contents(mail) == [FILE]
    told = (await replies(relay, accepted.pk))[0]
    assert told.startswith(f"attachment a.bin: {reason}")
    assert "127.0.0.1" not in told
    assert "internal" not in told
    assert await relay.kinds(accepted.pk) == ["accepted", "deferred", "sent"]


async def test_a_server_that_is_down_defers_the_mail(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    url, port = files.url, files.port
    await files.stop()
    accepted = await post(relay, at(f"{url}/a", "a.bin"), expires_in_s=0.5)
    view = await relay.settled(accepted.pk, "failed")
    assert "no whole answer came from its server" in (view.recipients[0].reply or "")
    assert str(port) not in (view.recipients[0].reply or "")


@pytest.mark.parametrize("trouble", NEVER)
async def test_what_will_not_pass_fails_the_mail_and_names_the_file(
    relay: Relay, upstream: FakeUpstream, files: FileServer, trouble: str
) -> None:
    reply, reason = NEVER[trouble]
    files.answer = lambda _ask: reply
    accepted = await post(relay, at(f"{files.url}/a", "a.bin"))
    view = await relay.settled(accepted.pk, "failed")
    assert (view.recipients[0].reply or "").startswith(f"attachment a.bin: {reason}")
    assert upstream.received == []
    assert len(files.asks) == 1


async def test_more_than_it_said_is_cut(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    files.answer = lambda _ask: Reply(FILE + b" and more", length=len(FILE))
    await post(relay, at(f"{files.url}/a"))
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [FILE]


async def test_a_redirect_is_not_followed(
    relay: Relay, upstream: FakeUpstream, files: FileServer
) -> None:
    async with FileServer(lambda _ask: Reply(b"secret")) as inside:
        files.answer = lambda _ask: Reply(status=302, headers={"Location": f"{inside.url}/"})
        accepted = await post(relay, at(f"{files.url}/a", "a.bin"))
        view = await relay.settled(accepted.pk, "failed")
        assert "redirects are not followed" in (view.recipients[0].reply or "")
        assert inside.connections == 0


HOSTILE = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://127.1:{port}/",
    "http://0:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://192.0.0.8/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fec0::1]/",
    "http://[fe80::1]/",
    "http://127.0.0.1:25/",
)


async def test_nothing_inside_is_asked_whatever_it_is_called(
    start_node: StartNode, upstream: FakeUpstream, files: FileServer
) -> None:
    # Somebody else may reach this node, so its own machine is out of bounds.
    relay = await start_node(**IMPATIENT, **{"http.listen": "0.0.0.0:0"})
    await relay.tenant("acme", client_base_url=files.url)
    await relay.account(upstream)
    urls = [url.format(port=files.port) for url in HOSTILE]
    posted = [await post(relay, at(url, "a.bin"), id=url) for url in urls]
    posted.append(await post(relay, at("doc=1", "a.bin"), id="endpoint"))
    for accepted in posted:
        view = await relay.settled(accepted.pk, "failed")
        reply = view.recipients[0].reply or ""
        assert reply.startswith("attachment a.bin: its "), (view.id, reply)
        assert reply.endswith("may not be asked"), (view.id, reply)
    # Not every resolver knows this name.
    dotted = at(f"http://localhost.:{files.port}/")
    await relay.settled((await post(relay, dotted, expires_in_s=0.3)).pk, "failed")
    assert files.connections == 0
    assert upstream.received == []


async def test_a_network_that_the_operator_allows_is_asked(
    start_node: StartNode, upstream: FakeUpstream, files: FileServer
) -> None:
    relay = await start_node(
        **IMPATIENT,
        **{"http.listen": "0.0.0.0:0", "attachments.allowed_networks": ["127.0.0.0/8"]},
    )
    await relay.tenant("acme")
    await relay.account(upstream)
    await post(relay, at(f"{files.url}/a"))
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [FILE]


def lay_out(folder: Path) -> None:
    """Make a tenant's folder, and ways out of it."""
    root, outside = folder / "srv", folder / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (outside / "alone").write_bytes(b"secret")
    (root / "link").symlink_to(outside / "alone")
    (root / "folder").symlink_to(outside)
    (root / "twice").symlink_to("link")
    os.link(outside / "secret", root / "hard")
    os.mkfifo(root / "pipe")
    (root / "sub").mkdir()
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(10 * 2**30)
    (root / "good").write_bytes(FILE)


HOSTILE_PATHS = (
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "{folder}/outside/alone",
    "{folder}/srv/../outside/alone",
    "{folder}/srv/%2e%2e/outside/alone",
    "{folder}/srv/../../../../../../etc/passwd",
    "{folder}/srv/link",
    "{folder}/srv/folder/alone",
    "{folder}/srv/twice",
    "{folder}/srv/hard",
    "{folder}/srv/pipe",
    "{folder}/srv/sub",
    "{folder}/srv/sparse",
    "{folder}/srv/good/more",
    "{folder}/srv/none",
    "{folder}/srv",
    "{folder}/srvother",
    "/",
)


async def test_only_plain_files_beneath_an_allowed_folder_are_sent(
    start_node: StartNode, upstream: FakeUpstream, tmp_path: Path
) -> None:
    lay_out(tmp_path)
    relay = await start_node(**IMPATIENT, **{"attachments.roots": {"acme": [tmp_path / "srv"]}})
    await relay.tenant("acme")
    await relay.account(upstream)
    paths = [path.format(folder=tmp_path) for path in HOSTILE_PATHS]
    posted = [await post(relay, at(path, "a.bin"), id=path) for path in paths]
    for accepted in posted:
        view = await relay.settled(accepted.pk, "failed")
        reply = view.recipients[0].reply or ""
        assert reply.startswith("attachment a.bin: is "), (view.id, reply)
    assert upstream.received == []
    await post(relay, at(f"{tmp_path}/srv/good"), id="good")
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [FILE]


async def test_a_folder_is_of_the_tenant_it_was_opened_to(
    start_node: StartNode, upstream: FakeUpstream, tmp_path: Path
) -> None:
    lay_out(tmp_path)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "terms").write_bytes(b"terms")
    roots = {"acme": [tmp_path / "srv"], "*": [tmp_path / "all"]}
    relay = await start_node(**IMPATIENT, **{"attachments.roots": roots})
    for tenant_id in ("acme", "rival"):
        await relay.tenant(tenant_id)
        await relay.account(upstream, tenant_id=tenant_id)
    foreign = await post(relay, at(f"{tmp_path}/srv/good"), tenant_id="rival")
    await post(relay, at(f"{tmp_path}/all/terms"), tenant_id="rival", id="m2")
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [b"terms"]
    view = await relay.view(foreign.pk, "rival")
    assert [r.state for r in view.recipients] == ["failed"]


async def test_a_folder_whose_disk_is_away_defers_the_mail(
    start_node: StartNode, upstream: FakeUpstream, tmp_path: Path
) -> None:
    root = tmp_path / "mounted"
    relay = await start_node(**IMPATIENT, **{"attachments.roots": {"acme": [root]}})
    await relay.tenant("acme")
    await relay.account(upstream)
    accepted = await post(relay, at(f"{root}/a"))
    await relay.settled(accepted.pk, "deferred")
    root.mkdir()
    (root / "a").write_bytes(FILE)
    [mail] = await upstream.wait_for(1)
    assert contents(mail) == [FILE]
