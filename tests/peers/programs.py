"""Running a client as a program of its own."""

import asyncio
import os
from collections.abc import Mapping

CLIENT_S = 30


async def run(
    *command: str, environ: Mapping[str, str] | None = None, said: bytes = b""
) -> tuple[int, str]:
    """Run a client with this on its standard input; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environ or {})},
    )
    async with asyncio.timeout(CLIENT_S):
        heard, _ = await process.communicate(said)
    assert process.returncode is not None
    return process.returncode, heard.decode(errors="replace")
