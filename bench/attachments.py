"""What mails with big fetched files cost in memory: one alone, and twenty at once.

    python -m bench.attachments [--runs 3] [--size 18000000] [--database postgres]

A web server here sends the file, Pillarbox runs in a process of its own, smtp-sink takes the mail.
The peak is the process's largest resident set (VmHWM), reset before each run; "over idle" is what
the mails added to it, in sizes of one mail as it is sent. A mail that does not arrive ends the
measurement.
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
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.figures import head, row, shown
from bench.pillarbox import ACCOUNT, TENANT, Pillarbox
from bench.relays import Relay, pillarbox
from bench.rest import Calls, post
from relay.formats.insertion import encoded_size
from tests.vitals import forget_peak, peak_bytes, resident_bytes

MAILS = (1, 20)
CHUNK = bytes(range(256)) * 256
TITLES = ("mails at once", "mail MB", "idle MB", "peak MB", "over idle", "seconds")


@dataclass(frozen=True, slots=True)
class Run:
    idle_mb: float
    peak_mb: float
    over_idle: float
    seconds: float


class Source:
    """A web server that sends a file of one size to whoever asks."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._size_bytes)
        for at in range(0, self._size_bytes, len(CHUNK)):
            writer.write(CHUNK[: self._size_bytes - at])
            await writer.drain()
        writer.close()


def body(run: int, mails: int, number: int, port: int) -> bytes:
    message = {
        "id": f"{run}-{mails}-{number}",
        "tenant_id": TENANT,
        "account_id": ACCOUNT,
        "from": "app@bench.test",
        "to": ["bob@bench.test"],
        "subject": "a big file",
        "text": "see the file",
        "attachments": [
            {"filename": "big.bin", "storage_path": f"http://127.0.0.1:{port}/{number}"}
        ],
    }
    return json.dumps({"messages": [message]}).encode()


async def measure(
    relay: Relay, process: Pillarbox, run: int, mails: int, options: argparse.Namespace
) -> Run:
    source = Source(options.size)
    server = await source.start()
    idle_mb = resident_bytes(process.pid) / 1e6
    forget_peak(process.pid)
    expected = relay.sink.mails + mails
    began_at = time.monotonic()
    await post(process, Calls(iter(body(run, mails, n, source.port) for n in range(mails))))
    ended_at = await relay.sink.wait_for(expected)
    server.close()
    peak_mb = peak_bytes(process.pid) / 1e6
    over_idle = (peak_mb - idle_mb) / (encoded_size(options.size) / 1e6)
    return Run(idle_mb, peak_mb, over_idle, ended_at - began_at)


def figures(relay: Relay, process: Pillarbox, options: argparse.Namespace) -> Iterator[str]:
    """Yield a row for each number of mails."""
    mail_mb = f"{encoded_size(options.size) / 1e6:.1f}"
    for mails in MAILS:
        runs = [
            uvloop.run(measure(relay, process, number, mails, options))
            for number in range(options.runs)
        ]
        cells = [shown([getattr(run, name) for run in runs]) for name in Run.__slots__]
        yield row([str(mails), mail_mb, *cells])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.attachments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--size", type=int, default=18_000_000, help="bytes of a file (18000000)")
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
