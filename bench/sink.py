"""The sinks, where all mail ends, and their running count: smtp-sink of Postfix, which takes mail
faster than anybody relays it, and our own where mail comes inside TLS.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.certificate import Certificate
from tests.peers.private_postfix import wait_for

STALL_S = 60
ROOT = Path(__file__).parents[1]


class Sink:
    """`command` writes "mesg=" and how many mails it has, again and again, each with a "\\r"."""

    def __init__(self, port: int, command: Sequence[str | Path]) -> None:
        self.port = port
        self._counter = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`
        self._process = subprocess.Popen(
            command, stdout=self._counter, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        wait_for(port)

    @property
    def mails(self) -> int:
        """How many mails it has taken: the last complete record of its progress line."""
        # The place in the file is the sink's too: to seek would move where it writes.
        descriptor = self._counter.fileno()
        size = os.fstat(descriptor).st_size
        records = os.pread(descriptor, 200, max(0, size - 200)).decode("latin-1").split("\r")
        counts = [record.rpartition("mesg=")[2] for record in records[:-1] if "mesg=" in record]
        return int(counts[-1]) if counts else 0

    async def wait_for(self, mails: int) -> float:
        """Return when (monotonic) it had so many mails. Raises TimeoutError when they stop
        coming.
        """
        seen, seen_at = -1, time.monotonic()
        while seen < mails:
            await asyncio.sleep(0.005)
            count, now = self.mails, time.monotonic()
            if count != seen:
                seen, seen_at = count, now
            elif now - seen_at > STALL_S:
                raise TimeoutError(f"{mails - seen} mails of {mails} did not arrive")
        return seen_at

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._counter.close()


def plain_sink(port: int, *options: str) -> Sink:
    """Run smtp-sink; `-p` makes it offer no pipelining."""
    settings = ("-c", "-m", "4000", "-u", "nobody", *options)
    return Sink(port, ["smtp-sink", *settings, f"127.0.0.1:{port}", "1024"])


def tls_sink(port: int, certificate: Certificate) -> Sink:
    files = (certificate.chain, certificate.key)
    return Sink(port, [sys.executable, "-m", "bench.taker", str(port), *files])
