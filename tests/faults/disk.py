"""Disks that fill: by the relay's own queue, by others, by files without bytes; that only read; and
a process that may write no more.
"""

import asyncio
import random
import resource
import shutil

from tests.faults import tmpfs
from tests.faults.actions import Action, kill, sequence, start, wait
from tests.faults.house import House
from tests.faults.invariants import Bounds, Violation
from tests.faults.ledgers import Books
from tests.faults.postgres import start_in_vain
from tests.faults.probing import nothing_in_doubt, noticed, refuses_for_now
from tests.faults.run import Run
from tests.faults.tmpfs import MEBIBYTE, SmallDisk
from tests.faults.traffic import Pace
from tests.faults.view import is_drained
from tests.waiting import until

BUSY = "421 4.3.2 not now"
FULL = refuses_for_now({452}, {507})
# No file may grow beyond this; every file is larger already.
TINY_BYTES = 4096


def fill(leave_bytes: int = 0) -> Action:
    """Let others take what is free."""

    async def apply(house: House, _chance: random.Random) -> None:
        assert house.small
        await asyncio.to_thread(tmpfs.fill, house.small, leave_bytes=leave_bytes)

    return Action("disk filled", apply)


def take_inodes() -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        assert house.small
        await asyncio.to_thread(tmpfs.take_inodes, house.small)

    return Action("inodes taken", apply)


def clear() -> Action:
    """Let others go."""

    async def apply(house: House, _chance: random.Random) -> None:
        assert house.small
        await asyncio.to_thread(tmpfs.clear, house.small)

    return Action("disk cleared", apply)


def keep_full(hold_s: float) -> Action:
    """Take also what the relay lets go, for a while."""

    async def apply(house: House, chance: random.Random) -> None:
        for _ in range(round(hold_s / 0.1)):
            await fill().apply(house, chance)
            await asyncio.sleep(0.1)

    return Action(f"full for {hold_s:g} s", apply)


def remount(option: str) -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        assert house.small
        tmpfs.remount(house.small, option)

    return Action(f"mounted {option}", apply)


def limit_files(size_bytes: int = resource.RLIM_INFINITY, node: int = 0) -> Action:
    """Let a process write no file beyond this size; without a size, let it write again."""

    async def apply(house: House, _chance: random.Random) -> None:
        process = house.nodes[node].process
        assert process
        hard = resource.RLIM_INFINITY
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))

    return Action("files limited" if size_bytes > 0 else "files free", apply)


def upstreams(*, are_there: bool, dot_s: float = 0.005) -> Action:
    """Let the sinks take mail, or not; `dot_s` is how long they think about one."""

    async def apply(house: House, _chance: random.Random) -> None:
        for sink in house.sinks.values():
            sink.upstream.on = {} if are_there else {"MAIL": BUSY}
            sink.upstream.delays["DOT"] = dot_s

    return Action("upstreams there" if are_there else "upstreams away", apply)


def until_refused(timeout_s: float = 60) -> Action:
    """Wait until clients hear that there is no room."""

    async def apply(house: House, _chance: random.Random) -> None:
        known = len(house.ledger.refusals)

        async def are_refused() -> bool:
            return any(r.code in (452, 507) for r in house.ledger.refusals[known:])

        await until(are_refused, timeout_s=timeout_s)

    return Action("until mail is refused", apply)


def until_drained(timeout_s: float = 30) -> Action:
    """Wait until all that was taken has left, and is known to have."""

    async def apply(house: House, _chance: random.Random) -> None:
        await until(lambda: is_drained(house), timeout_s=timeout_s, every_s=0.05)

    return Action("until all has left", apply)


def revive_postgres() -> Action:
    """Start the server again as its supervisor does, if the full disk was too much for it."""

    async def apply(house: House, _chance: random.Random) -> None:
        assert house.server
        if await asyncio.to_thread(house.server.has_ended, 2.0):
            await asyncio.to_thread(house.server.launch)

    return Action("server up", apply)


async def never_refused(_house: House, books: Books) -> list[Violation]:
    """It was not the database's disk, and no client's business."""
    return [Violation("I6", r.face, f"answered {r.code} {r.text[:80]}") for r in books.refusals[:5]]


async def left_room(house: House, _books: Books) -> list[Violation]:
    """The watermark held: the relay's own mail never took the last of the disk."""
    assert house.small
    free = shutil.disk_usage(house.small).free
    return [] if free else [Violation("I7", "disk", "the relay's own mail filled it")]


def limits(min_free: int, reserve: int) -> dict[str, str]:
    """Return settings in MiB."""
    return {
        "PILLARBOX_LIMITS_MIN_FREE_DISK_BYTES": str(min_free * MEBIBYTE),
        "PILLARBOX_DATABASE_RESERVE_BYTES": str(reserve * MEBIBYTE),
    }


LITE = ("sqlite",)
FILLED = sequence(wait(0.5), fill(), noticed(keep_full(3)), clear(), wait(0.5))

RUNS = (
    Run(
        "the disk is filled by others",
        FILLED,
        rounds=20,
        short=1,
        stores=LITE,
        disk=SmallDisk(64 * MEBIBYTE),
        settings=limits(8, 4),
        begin=upstreams(are_there=True, dot_s=0.2),
        checks=(FULL, nothing_in_doubt),
    ),
    Run(
        "the disk is filled by others, without a reserve",
        FILLED,
        rounds=10,
        stores=LITE,
        disk=SmallDisk(64 * MEBIBYTE),
        settings=limits(0, 0),
        begin=upstreams(are_there=True, dot_s=0.2),
        checks=(FULL, nothing_in_doubt),
    ),
    Run(
        "kill -9 on a full disk, with nothing under way",
        sequence(wait(0.5), fill(), until_drained(), kill(), clear(), start()),
        rounds=10,
        short=1,
        stores=LITE,
        disk=SmallDisk(128 * MEBIBYTE),
        # To send all that waits takes more than the results of what is under way.
        settings=limits(8, 32),
        begin=upstreams(are_there=True, dot_s=0.3),
        checks=(nothing_in_doubt,),
    ),
    Run(
        "the disk is filled by the relay's own queue",
        sequence(
            upstreams(are_there=False),
            noticed(sequence(until_refused(), wait(4))),
            upstreams(are_there=True),
        ),
        rounds=5,
        short=1,
        stores=LITE,
        disk=SmallDisk(112 * MEBIBYTE),
        settings=limits(64, 4),
        pace=Pace(lines=4000),
        checks=(FULL, nothing_in_doubt, left_room),
    ),
    Run(
        "the disk has no inodes left",
        sequence(wait(0.5), take_inodes(), noticed(wait(3), unready=False), clear()),
        rounds=5,
        short=1,
        stores=LITE,
        disk=SmallDisk(64 * MEBIBYTE, inodes=20),
        settings=limits(8, 4),
        checks=(nothing_in_doubt,),
    ),
    Run(
        "the disk is mounted read-only at a start",
        sequence(wait(0.3), kill(), remount("ro"), start_in_vain(), remount("rw"), start()),
        rounds=5,
        short=1,
        stores=LITE,
        disk=SmallDisk(64 * MEBIBYTE),
        settings=limits(8, 4),
    ),
    Run(
        "files may not grow",
        sequence(wait(0.5), limit_files(TINY_BYTES), noticed(wait(3)), limit_files()),
        rounds=10,
        short=1,
        stores=LITE,
        checks=(FULL, nothing_in_doubt),
    ),
    Run(
        "the disk of log, home and cache is full",
        sequence(wait(0.5), fill(), noticed(wait(3), unready=False), clear()),
        rounds=5,
        short=1,
        stores=LITE,
        disk=SmallDisk(32 * MEBIBYTE, place="node0"),
        checks=(never_refused, nothing_in_doubt),
    ),
    Run(
        "PostgreSQL's disk is full",
        sequence(wait(0.5), fill(), noticed(keep_full(4)), clear(), revive_postgres()),
        rounds=5,
        short=1,
        stores=("postgres",),
        owns_postgres=True,
        disk=SmallDisk(160 * MEBIBYTE),
        bounds=Bounds(recovery_s=20),
        checks=(nothing_in_doubt,),
    ),
)
