"""A Pillarbox that has nothing to do: how fast it starts, its memory, its CPU.

    python -m bench.idle [--runs 5] [--seconds 20]

Start to ready: from the start of the process until /ready answers 200, on a store that is there
already and with its bytecode compiled, as pip leaves it (a first start also makes both, and is not
counted). At rest: a tenant and an account, no mail, nobody connected; one mail was sent before, so
that what is loaded late is loaded.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.command import Bench, add_database, scratch_folder
from bench.cost import cpu_s, memory_bytes
from bench.load import Load, send
from bench.pillarbox import TENANT, Pillarbox, Upstream
from bench.relays import running, sink_of, store
from bench.results import Check, Finding, Goal, Head, Row
from bench.sink import Sink

HEAD = Head(("start to ready s", "memory at rest MB", "CPU at rest %"))
START = Goal(1.0, "s", at_least=False)
MEMORY = Goal(80, "MB", at_least=False)
CPU = Goal(0.5, "% of a core", at_least=False)
CALM_S = 2.0
MAIL_BYTES = 4096


async def send_one(process: Pillarbox, sink: Sink, port: int) -> None:
    login = process.add_tenant(TENANT, Upstream(port))
    expected = sink.mails + 1
    await send(Load(process.smtp_port, 1, MAIL_BYTES, keeps=False, login=login, sessions=1))
    await sink.wait_for(expected)


def compiled(folder: Path) -> dict[str, str]:
    """Have Python keep its bytecode here, whatever the environment says of it."""
    return {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}


def start_s(folder: Path, settings: dict[str, str]) -> float:
    with running(folder, settings) as process:
        return process.start_s


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    with (
        scratch_folder(options) as folder,
        sink_of(None) as sink,
        store(folder, options.database) as (database, _),
    ):
        settings = {**database, **compiled(folder)}
        with running(folder, settings) as process:
            uvloop.run(send_one(process, sink, sink.port))
            time.sleep(CALM_S)
            used_s, began_at = cpu_s(process.pid), time.monotonic()
            time.sleep(options.seconds)
            cpu = (cpu_s(process.pid) - used_s) / (time.monotonic() - began_at) * 100
            memory_mb = memory_bytes(process.pid) / 1e6
        starts_s = [start_s(folder, settings) for _ in range(options.runs)]
    yield Row((starts_s, [memory_mb], [cpu]))
    yield Check("start to ready", starts_s, START)
    yield Check("memory at rest", [memory_mb], MEMORY)
    yield Check("CPU at rest", [cpu], CPU)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="starts (5)")
    parser.add_argument("--seconds", type=float, default=20, help="how long it rests (20)")
    add_database(parser)


BENCH = Bench("idle", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
