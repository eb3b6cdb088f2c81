"""Two tiers: what is found, what is let go, and what never gets in."""

import hashlib
import io
from pathlib import Path

import pytest

from relay.attachments.cache import Cache, CacheSettings
from relay.attachments.intake import Received

SETTINGS = CacheSettings(
    memory_bytes=1000,
    memory_age_s=300,
    memory_file_bytes=100,
    disk_bytes=1000,
    disk_age_s=3600,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def received(data: bytes) -> Received:
    md5 = hashlib.md5(data).hexdigest()
    return Received(len(data), hashlib.sha256(data).hexdigest(), md5, io.BytesIO(data))


def md5_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Kept:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.asked: list[tuple[str, bool]] = []
        self.cache = Cache(
            SETTINGS, folder, self.clock, lambda tier, is_hit: self.asked.append((tier, is_hit))
        )

    async def keep(self, data: bytes, tenant_id: str = "acme") -> None:
        assert await self.cache.keep(tenant_id, md5_of(data), received(data))

    async def find(self, data: bytes, tenant_id: str = "acme") -> str | None:
        """Return the tier that has it."""
        hit = await self.cache.find(tenant_id, md5_of(data))
        if hit is None:
            return None
        with hit.received.file as file:
            assert file.read() == data
        assert hit.received.sha256 == hashlib.sha256(data).hexdigest()
        return hit.tier

    @property
    def on_disk(self) -> int:
        return len(list(self.folder.iterdir()))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "of an earlier life").write_bytes(b"x")
    return Kept(tmp_path / "cache")


SMALL, BIG = b"s" * 100, b"b" * 101


async def test_small_files_are_in_memory_and_others_on_disk(kept: Kept) -> None:
    assert kept.on_disk == 0
    await kept.keep(SMALL)
    await kept.keep(BIG)
    assert (await kept.find(SMALL), await kept.find(BIG)) == ("memory", "disk")
    assert kept.on_disk == 1
    assert kept.asked == [("memory", True), ("memory", False), ("disk", True)]


async def test_a_file_is_found_in_its_own_tenant_only(kept: Kept) -> None:
    await kept.keep(SMALL)
    await kept.keep(BIG)
    assert await kept.find(SMALL, "rival") is None
    assert await kept.find(BIG, "rival") is None


async def test_a_wrong_md5_is_never_kept_under_that_name(kept: Kept) -> None:
    for data in (SMALL, BIG):
        assert not await kept.cache.keep("acme", md5_of(b"other"), received(data))
        assert await kept.cache.find("acme", md5_of(b"other")) is None
        assert await kept.find(data) is None
    assert kept.on_disk == 0


async def test_each_tier_has_its_age(kept: Kept) -> None:
    await kept.keep(SMALL)
    await kept.keep(BIG)
    kept.clock.now += 301
    assert (await kept.find(SMALL), await kept.find(BIG)) == (None, "disk")
    kept.clock.now += 3300
    assert await kept.find(BIG) is None
    await kept.keep(b"n" * 200)
    assert kept.on_disk == 1


async def test_what_was_used_last_stays_when_room_is_needed(kept: Kept) -> None:
    files = [bytes([n]) * 300 for n in range(4)]
    for data in files[:3]:
        await kept.keep(data)
    await kept.find(files[0])
    await kept.keep(files[3])
    assert [await kept.find(data) for data in files] == ["disk", None, "disk", "disk"]
    assert kept.on_disk == 3


async def test_the_same_file_again_takes_no_more_room(kept: Kept) -> None:
    for _ in range(5):
        await kept.keep(BIG)
    assert kept.on_disk == 1


async def test_what_fits_no_tier_is_not_kept(kept: Kept) -> None:
    huge = bytes(1001)
    await kept.keep(huge)
    assert await kept.find(huge) is None
    assert kept.on_disk == 0


async def test_a_file_that_vanished_from_disk_is_a_miss(kept: Kept) -> None:
    await kept.keep(BIG)
    for path in kept.folder.iterdir():
        path.unlink()
    assert await kept.find(BIG) is None


async def test_a_file_that_cannot_be_written_is_not_kept_and_no_fault(kept: Kept) -> None:
    kept.folder.rmdir()
    await kept.keep(BIG)
    assert await kept.find(BIG) is None
    kept.folder.mkdir()
    await kept.keep(BIG)
    assert await kept.find(BIG) is not None
