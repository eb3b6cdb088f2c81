"""Pillarbox by REST: `add-messages` with one message a call, with fifty, with a hundred.

    python -m bench.rest [--runs 3] [-n 3000] [--size 4096] [--database postgres]

Twenty connections, each with one call under way. Delivered: messages a second until the last was
at the sink. A refused call, or a message that is missing at the sink, ends the measurement.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.cost import cpu_s, memory_bytes
from bench.figures import head, percentile_ms, row, shown
from bench.pillarbox import ACCOUNT, TENANT, Pillarbox
from bench.relays import Relay, pillarbox

BATCHES = (1, 50, 100)
CONNECTIONS = 20
CALL_S = 60
LINE = "x" * 74 + "\n"

TITLES = (
    "messages a call",
    "calls/s",
    "messages/s",
    "delivered/s",
    "CPU ms/message",
    "memory MB",
    "call p50 ms",
    "call p99 ms",
)


@dataclass(frozen=True, slots=True)
class Run:
    calls_s: float
    messages_s: float
    delivered_s: float
    cpu_ms: float
    memory_mb: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Calls:
    """The bodies that wait to be posted, and how long each call took."""

    bodies: Iterator[bytes]
    waits_s: list[float] = field(default_factory=list)


def bodies(run: int, messages: int, batch: int, size_bytes: int) -> list[bytes]:
    """Return the body of each call, made before the clock runs."""
    text = LINE * (size_bytes // len(LINE))
    made = [
        {
            "id": f"{run}-{batch}-{number}",
            "tenant_id": TENANT,
            "account_id": ACCOUNT,
            "from": "app@bench.test",
            "to": ["bob@bench.test"],
            "subject": "load",
            "body": text,
        }
        for number in range(messages)
    ]
    portions = [made[at : at + batch] for at in range(0, messages, batch)]
    return [json.dumps({"messages": portion}).encode() for portion in portions]


async def post(process: Pillarbox, calls: Calls) -> None:
    """Call until nothing waits, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.http_port)
    head_text = (
        "POST /commands/add-messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-API-Token: {process.token}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    for body in calls.bodies:
        began_at = time.perf_counter()
        writer.write(head_text + b"%d\r\n\r\n" % len(body) + body)
        async with asyncio.timeout(CALL_S):
            await read_answer(reader)
        calls.waits_s.append(time.perf_counter() - began_at)
    writer.close()
    await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> None:
    """Read an answer to its end. Raises ValueError unless it is 200 with nothing rejected."""
    top = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(top.partition(b"content-length:")[2].partition(b"\r\n")[0])
    answer = await reader.readexactly(length)
    if b" 200 " not in top.partition(b"\r\n")[0] or json.loads(answer)["rejected"]:
        raise ValueError(answer[:500].decode(errors="replace"))


async def measure(relay: Relay, process: Pillarbox, waiting: list[bytes], messages: int) -> Run:
    calls = Calls(iter(waiting))
    expected = relay.sink.mails + messages
    used_s = sum(map(cpu_s, relay.pids))
    began_at = time.monotonic()
    async with asyncio.TaskGroup() as connections:
        for _ in range(CONNECTIONS):
            connections.create_task(post(process, calls))
    ended_at = time.monotonic()
    memory = sum(map(memory_bytes, relay.pids))
    delivered_at = await relay.sink.wait_for(expected)
    return Run(
        calls_s=len(waiting) / (ended_at - began_at),
        messages_s=messages / (ended_at - began_at),
        delivered_s=messages / (delivered_at - began_at),
        cpu_ms=(sum(map(cpu_s, relay.pids)) - used_s) / messages * 1000,
        memory_mb=memory / 1e6,
        p50_ms=percentile_ms(calls.waits_s, 0.5),
        p99_ms=percentile_ms(calls.waits_s, 0.99),
    )


def figures(relay: Relay, process: Pillarbox, options: argparse.Namespace) -> Iterator[str]:
    """Yield a row for each size of a batch."""
    for batch in BATCHES:
        runs = []
        for run in range(options.runs):
            waiting = bodies(run, options.n, batch, options.size)
            runs.append(uvloop.run(measure(relay, process, waiting, options.n)))
        yield row(
            [str(batch), *(shown([getattr(run, name) for run in runs]) for name in Run.__slots__)]
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.rest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("-n", type=int, default=3000, help="messages a run (3000)")
    parser.add_argument("--size", type=int, default=4096, help="bytes of a body (4096)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="the disk to use")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped even then
    print(head(TITLES), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        relay, process = stack.enter_context(pillarbox(folder, options.database))
        for line in figures(relay, process, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
