"""What mails with big fetched files cost in memory: one alone, and twenty at once.

    python -m bench.attachments [--runs 3] [--size 18000000] [--database postgres]

A web server here sends the file, Pillarbox runs in a process of its own, smtp-sink takes the mail.
The peak is the process's largest resident set (VmHWM), reset before each run; "over idle" is what
the mails added to it, in sizes of one mail as it is sent. A mail that does not arrive ends the
measurement.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from bench.call import Message, bodies, message, post_all
from bench.command import Bench, add_database, scratch_folder
from bench.pillarbox import Pillarbox
from bench.relays import Relay, Setup, pillarbox
from bench.results import Check, Finding, Goal, Head, Row
from relay.formats.insertion import encoded_size
from tests.vitals import forget_peak, peak_bytes, resident_bytes

MAILS = (1, 20)
CHUNK = bytes(range(256)) * 256
HEAD = Head(("mails at once", "mail MB", "idle MB", "peak MB", "over idle", "seconds"))
ONE_MAIL = Goal(3, "x its size", at_least=False)


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


def message_with_file(name: str, url: str) -> Message:
    file = {"filename": "big.bin", "storage_path": url}
    return message(name, text="see the file", attachments=[file])


async def fetch_and_send(
    relay: Relay, process: Pillarbox, run: int, mails: int, size_bytes: int
) -> Run:
    source = Source(size_bytes)
    server = await source.start()
    idle = resident_bytes(process.pid)
    forget_peak(process.pid)
    expected = relay.sink.mails + mails
    began_at = time.monotonic()
    url = f"http://127.0.0.1:{source.port}"
    made = [message_with_file(f"{run}-{mails}-{n}", f"{url}/{n}") for n in range(mails)]
    await post_all(process, bodies(made), connections=1)
    ended_at = await relay.sink.wait_for(expected)
    server.close()
    peak = peak_bytes(process.pid)
    over_idle = (peak - idle) / encoded_size(size_bytes)
    return Run(idle / 1e6, peak / 1e6, over_idle, ended_at - began_at)


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    """Yield a row for each number of mails."""
    mail_mb = f"{encoded_size(options.size) / 1e6:.1f}"
    over_idle: dict[int, list[float]] = {}
    with scratch_folder(options) as folder, pillarbox(folder, Setup(options.database)) as both:
        relay, process = both
        yield HEAD
        for mails in MAILS:
            runs = [
                uvloop.run(fetch_and_send(relay, process, number, mails, options.size))
                for number in range(options.runs)
            ]
            over_idle[mails] = [run.over_idle for run in runs]
            every = [[getattr(run, name) for run in runs] for name in Run.__slots__]
            yield Row((str(mails), mail_mb, *every))
    yield Check("one mail with a fetched file: memory", over_idle[1], ONE_MAIL)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--size", type=int, default=18_000_000, help="bytes of a file (18000000)")
    add_database(parser)


BENCH = Bench("attachments", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
