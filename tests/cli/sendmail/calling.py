"""`pillarbox-sendmail` as its callers run it: a process, with arguments, a mail and an end."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CODE = "import sys; sys.argv[0] = 'sendmail'; from cli.sendmail.program import main; main()"
PROGRAM = (sys.executable, "-c", CODE)
WAIT_S = 30
HELLO = b"From: app@acme.test\nTo: bob@there.test\nSubject: hello\n\nhi\n"


@dataclass(frozen=True, slots=True)
class Ending:
    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls with these settings, and with nobody else's files."""

    home: Path
    settings: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        ours = {f"PILLARBOX_SENDMAIL_{name.upper()}": v for name, v in self.settings.items()}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILLARBOX_", "XDG_"))}
        return {**clean, "HOME": str(self.home), **ours}

    async def __call__(self, *arguments: str, mail: bytes = HELLO) -> Ending:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate(mail)
        assert process.returncode is not None
        return Ending(process.returncode, out, err.decode())

    async def ok(self, *arguments: str, mail: bytes = HELLO) -> Ending:
        ending = await self(*arguments, mail=mail)
        assert (ending.code, ending.err) == (0, "")
        return ending
