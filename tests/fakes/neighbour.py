"""A client that sends a mail now and then, whatever others do: is it served, and how soon?"""

import asyncio
import base64
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.attackers import Victim
from tests.scenarios.raw_client import client

NEIGHBOUR_IP = "127.0.0.2"
PAUSE_S = 0.05


@dataclass(slots=True)
class Neighbour:
    """Inside the block it sends; `waits_s` are the times from connecting to 250, and `refusals`
    what it heard instead.
    """

    victim: Victim
    waits_s: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _has_enough: bool = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._has_enough = True
        if self._task:
            await self._task

    async def _live(self) -> None:
        while not self._has_enough:
            began_at = time.monotonic()
            reply = await self._send()
            if reply.startswith("250"):
                self.waits_s.append(time.monotonic() - began_at)
            else:
                self.refusals.append(reply)
            await asyncio.sleep(PAUSE_S)

    async def _send(self) -> str:
        async with client(self.victim.port, source_ip=NEIGHBOUR_IP) as raw:
            greeting = await raw.hear()
            if not greeting.startswith("220"):
                return greeting
            await raw.say("EHLO neighbour.test")
            for words in self._dialogue:
                reply = await raw.say(words)
                if reply[:1] not in ("2", "3"):
                    break
            return reply

    @property
    def _dialogue(self) -> tuple[str, ...]:
        user, password = self.victim.user, self.victim.password
        login = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return (
            f"AUTH PLAIN {login}",
            f"MAIL FROM:<{self.victim.sender}>",
            "RCPT TO:<friend@there.test>",
            "DATA",
            "Subject: as always\r\n\r\nAll is well.\r\n.",
        )
