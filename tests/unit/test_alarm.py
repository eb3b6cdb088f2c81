"""One timer for many waits."""

import asyncio

from relay.alarm import Alarm


async def rung(alarm_at: list[float], *, off: bool = False) -> tuple[list[float], float]:
    """Set an alarm to times from now, one after the other; return when it rang, and the start."""
    loop = asyncio.get_running_loop()
    rings: list[float] = []
    alarm = Alarm(lambda: rings.append(loop.time()))
    started_at = loop.time()
    for at in alarm_at:
        alarm.set(started_at + at)
    if off:
        alarm.off()
    await asyncio.sleep(0.1)
    alarm.close()
    return rings, started_at


async def test_it_rings_once_at_its_time() -> None:
    rings, started_at = await rung([0.03])
    assert len(rings) == 1
    assert rings[0] >= started_at + 0.03


async def test_it_rings_at_the_time_it_was_set_to_last() -> None:
    for times in ([0.01, 0.05], [0.5, 0.05], [0.5, 0.01, 0.05]):
        rings, started_at = await rung(times)
        assert [ring >= started_at + 0.05 for ring in rings] == [True], times


async def test_what_was_turned_off_does_not_ring() -> None:
    assert (await rung([0.01], off=True))[0] == []


async def test_what_was_closed_does_not_ring() -> None:
    rings: list[int] = []
    alarm = Alarm(lambda: rings.append(1))
    alarm.set(asyncio.get_running_loop().time() + 0.01)
    alarm.close()
    await asyncio.sleep(0.03)
    assert rings == []
