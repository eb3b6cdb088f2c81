"""Disks beside the database's that are full: mail waits, and leaves whole when there is room."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.file_server import FileServer, Reply
from tests.fakes.upstream import FakeUpstream
from tests.faults import tmpfs
from tests.faults.tmpfs import MEBIBYTE, SmallDisk, why_not
from tests.scenarios.attaching import IMPATIENT, at, contents, given, post
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.large_mail import BIG, config
from tests.waiting import until

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Put a small disk under a folder of the test's."""
    if reason := why_not():
        assert not os.environ.get("PILLARBOX_REQUIRE_PEERS"), reason
        pytest.skip(reason)
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(SmallDisk(8 * MEBIBYTE).at(tmp_path / name))


async def deferred(relay: Relay, pk: str) -> None:
    async def is_so() -> bool:
        return "deferred" in await relay.kinds(pk)

    await until(is_so)


async def test_a_file_that_cannot_be_kept_for_now_delays_its_mail(
    start_node: StartNode, upstream: FakeUpstream, mount: Mount
) -> None:
    home = mount("home")
    relay = await start_node(**IMPATIENT)
    await relay.tenant("acme")
    await relay.account(upstream)
    async with FileServer(lambda _ask: Reply(BIG)) as files:
        tmpfs.fill(home)
        accepted = await post(relay, at(f"{files.url}/a", "a.bin"))
        await deferred(relay, accepted.pk)
        tmpfs.clear(home)
        await relay.settled(accepted.pk, "sent")
    [mail] = upstream.received
    assert contents(mail) == [BIG]


async def test_a_storage_without_room_delays_the_mail_whose_file_it_is_to_hold(
    start_node: StartNode, upstream: FakeUpstream, mount: Mount
) -> None:
    folder = mount("files")
    relay = await start_node()
    await relay.tenant("acme", large_file_config=config(folder))
    await relay.account(upstream)
    tmpfs.fill(folder)
    accepted = await post(relay, given(BIG, "big.pdf"))
    await deferred(relay, accepted.pk)
    assert not [path for path in folder.glob("acme/*") if path.stat().st_size]
    tmpfs.clear(folder)
    await relay.settled(accepted.pk, "sent")
    (stored,) = folder.glob("acme/*")
    assert stored.read_bytes() == BIG
