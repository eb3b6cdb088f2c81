"""The sink, where all mail ends: smtp-sink of Postfix, and its running count."""

import asyncio
import subprocess
import tempfile
import time

from tests.peers.private_postfix import wait_for

STALL_S = 60


class Sink:
    """It takes mail faster than anybody relays it."""

    def __init__(self, port: int) -> None:
        self._counter = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`
        self._process = subprocess.Popen(
            ["smtp-sink", "-c", "-m", "4000", "-u", "nobody", f"127.0.0.1:{port}", "1024"],
            stdout=self._counter,
            stderr=subprocess.DEVNULL,
        )
        wait_for(port)

    @property
    def mails(self) -> int:
        """How many mails it has taken: the last complete record of its progress line."""
        size = self._counter.seek(0, 2)
        self._counter.seek(max(0, size - 200))
        records = self._counter.read().decode("latin-1").split("\r")
        counts = [record.rpartition("mesg=")[2] for record in records if "mesg=" in record]
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
