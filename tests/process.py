"""`pillarbox serve` as a process of its own, to be killed and started again on the same ports."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from tests.conftest import free_port

TOKEN = "admin-token-of-the-tests"
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
RUN = (sys.executable, "-c", "from cli.main import main; main()", "serve")


class ServeProcess:
    """`prefix` is a command to run it under, such as strace; `run` and `environment` may
    change before a start.
    """

    def __init__(
        self, home: Path, url: str, *, prefix: Sequence[str] = (), **environment: str
    ) -> None:
        self.smtp_port, self.http_port = free_port(), free_port()
        self.run: Sequence[str] = RUN
        self._prefix = prefix
        self._log = home.parent / "serve.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PILLARBOX_")},
            "PILLARBOX_HOME": str(home),
            "PILLARBOX_DB": url,
            "PILLARBOX_ENCRYPTION_KEY": KEY,
            "PILLARBOX_API_TOKEN": TOKEN,
            "PILLARBOX_SMTP_LISTEN": f"127.0.0.1:{self.smtp_port}",
            "PILLARBOX_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            **environment,
        }
        self.process: asyncio.subprocess.Process | None = None
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.http_port}",
            headers={"X-API-Token": TOKEN},
            trust_env=False,
            timeout=10,
        )

    async def __aenter__(self) -> "ServeProcess":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.client.aclose()
        if self.process and self.process.returncode is None:
            await self.kill()

    async def start(self) -> None:
        """Start, and return once it is ready."""
        process = await self.launch()
        async with asyncio.timeout(30):
            while not await self._is_ready():
                if process.returncode is not None:
                    raise AssertionError(f"it ended at once:\n{self.log()}")
                await asyncio.sleep(0.02)

    async def launch(self) -> asyncio.subprocess.Process:
        """Start, and wait for nothing."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._prefix,
                *self.run,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    async def ended(self, timeout_s: float = 30) -> int:
        """Wait until it has ended by itself; return the exit code."""
        assert self.process
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    async def kill(self) -> None:
        """Kill -9, with whatever it was started under and has started."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def terminate(self, timeout_s: float = 20) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    async def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, object] = answer.json()
        return result

    def log(self) -> str:
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        """The log's entries of one event."""
        entries = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    async def _is_ready(self) -> bool:
        try:
            return (await self.client.get("/ready")).status_code == 200
        except httpx.TransportError:
            return False
