"""The watermark and the reserve, on a real folder: what is free there is what the test says."""

from pathlib import Path

import pytest

from relay.errors import StoreFull
from relay.ingress.disk import CLOSED_S, LOOK_EVERY_S, Disk, Spare
from relay.store.reserve import Reserve

RESERVED = 1 << 20
# More than any disk has.
ENDLESS = 1 << 62


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "db.reserve", RESERVED)


def free(folder: Path, time: Time) -> int:
    """Find what is free by where the watermark begins to hold, to the mebibyte."""
    low, high = 0, 1 << 50
    while high - low > 1 << 20:
        middle = (low + high) // 2
        try:
            Disk(folder, middle, time).check()
            low = middle
        except StoreFull:
            high = middle
    return low


async def test_the_reserve_has_its_blocks_and_can_be_read_by_its_owner_only(
    reserve: Reserve, tmp_path: Path
) -> None:
    reserve.make()
    found = (tmp_path / "db.reserve").stat()
    assert found.st_blocks * 512 >= RESERVED
    assert found.st_mode & 0o777 == 0o600
    reserve.give_up()
    assert not list(tmp_path.iterdir())


async def test_a_reserve_that_finds_no_room_takes_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "db.reserve", ENDLESS)
    reserve.make()
    assert not reserve.is_whole
    assert not list(tmp_path.iterdir())


async def test_a_write_without_room_closes_the_door_until_the_reserve_is_whole(
    reserve: Reserve, tmp_path: Path, time: Time
) -> None:
    disk = Disk(tmp_path, 0, time, reserve)
    await disk.tend()
    assert reserve.is_whole
    disk.check()
    disk.filled()
    assert not reserve.is_whole
    time.now += 1000
    with pytest.raises(StoreFull):
        disk.check()
    await disk.tend()
    assert reserve.is_whole
    disk.check()


async def test_without_a_reserve_the_door_is_closed_for_a_moment(time: Time) -> None:
    disk = Disk(None, 0, time)
    disk.filled()
    with pytest.raises(StoreFull):
        disk.check()
    assert disk.has_room_for_results()
    time.now += CLOSED_S
    disk.check()


async def test_mail_is_begun_only_where_its_result_has_room(tmp_path: Path, time: Time) -> None:
    whole, wanting = Reserve(tmp_path / "a", RESERVED), Reserve(tmp_path / "b", ENDLESS)
    for reserve in (whole, wanting):
        reserve.make()
    assert Disk(tmp_path, ENDLESS, time, whole).has_room_for_results()
    assert not Disk(tmp_path, 0, time, wanting).has_room_for_results()


async def test_what_was_taken_since_the_last_look_counts(tmp_path: Path, time: Time) -> None:
    watermark = free(tmp_path, time) // 2
    disk = Disk(tmp_path, watermark, time)
    disk.check()
    disk.spend(watermark)
    with pytest.raises(StoreFull):
        disk.check()
    time.now += LOOK_EVERY_S
    disk.check()


@pytest.mark.parametrize(
    ("journal", "file", "is_taken"),
    [(0, 0, False), (0, 1 << 60, False), (1 << 60, 1 << 60, True), (1 << 60, 0, False)],
)
async def test_what_the_database_has_to_spare_counts_but_half_must_do_for_its_journal(
    tmp_path: Path, time: Time, journal: int, file: int, is_taken: bool
) -> None:
    async def spare() -> Spare:
        return Spare(journal, file)

    disk = Disk(tmp_path, (1 << 61) + 1, time, Reserve(tmp_path / "r", 0), spare)
    await disk.tend()
    if is_taken:
        disk.check()
        return
    with pytest.raises(StoreFull):
        disk.check()
