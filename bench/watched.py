"""`pillarbox serve`, its event loop watched from inside:

    python -m bench.watched LAGS --home HOME

Every millisecond the loop is asked for a turn, and how late it came goes to the file LAGS.
"""

import asyncio
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import uvloop

from cli.foreground import configure_log, run
from cli.loading import load
from cli.serving import serving
from relay.app.memory import return_big_buffers
from relay.config import Config

TICK_S = 0.001
SAMPLE = struct.Struct("dd")


def lags_s(file: Path, began_at: float, ended_at: float) -> Sequence[float]:
    """Return how long whoever came at each millisecond of a period (monotonic) had to wait."""
    waits: list[float] = []
    for at, lag_s in SAMPLE.iter_unpack(_whole_samples(file.read_bytes())):
        if began_at <= at <= ended_at:
            # Nobody asks while the loop is stuck, but many might have.
            waits += [lag_s - tick * TICK_S for tick in range(int(lag_s / TICK_S) + 1)]
    return waits


def _whole_samples(octets: bytes) -> bytes:
    return octets[: len(octets) - len(octets) % SAMPLE.size]


async def watched(config: Config, file: BinaryIO) -> None:
    watch = asyncio.create_task(write_lags(file))
    await run(config)
    watch.cancel()


async def write_lags(file: BinaryIO) -> None:
    while True:
        due_at = time.monotonic() + TICK_S
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        file.write(SAMPLE.pack(now, max(0.0, now - due_at)))


def main() -> None:
    lags, _, home = sys.argv[1:]
    config = load(Path(home), "default", {})
    configure_log(config, None)
    return_big_buffers()
    with serving(config.instance_dir), Path(lags).open("wb", buffering=0) as file:
        uvloop.run(watched(config, file))


if __name__ == "__main__":
    main()
