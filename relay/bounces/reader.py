"""Reads strangers' mail in processes of their own, which end when they take too long or too much.

Promises: no mail holds up the loop, or takes more time and memory than it is given; a mail is given
up as unreadable only when it failed in a process that had read nothing before; at most `processes`
run at once, and none before the first mail.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError

from relay.bounces.question import ANSWER, QUESTION, READING, READY, Reading
from relay.errors import MailboxFault, Unreadable

LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
START_S = 20.0
MODULE = "relay.bounces.reading"


@dataclass(slots=True)
class _Place:
    """Room for one process, and the process that is there, if one is."""

    process: Process | None = None


class Reader:
    def __init__(self, *, processes: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._places: asyncio.Queue[_Place] = asyncio.Queue()
        for _ in range(processes):
            self._places.put_nowait(_Place())
        self._all = processes

    async def read(self, raw: bytes, *, is_pec: bool) -> Reading:
        """Say what a mail is. Raises Unreadable, MailboxFault."""
        place = await self._places.get()
        try:
            if place.process is not None:
                with suppress(Unreadable):
                    return await self._ask(place, raw, is_pec=is_pec)
            return await self._ask(place, raw, is_pec=is_pec)
        finally:
            self._places.put_nowait(place)

    async def close(self) -> None:
        """End every process; nobody reads any more."""
        for _ in range(self._all):
            await _end(self._places.get_nowait())

    async def _ask(self, place: _Place, raw: bytes, *, is_pec: bool) -> Reading:
        """Ask the process that is there, or a new one; one that does not answer well is ended."""
        try:
            process = place.process or await _start(place)
            async with asyncio.timeout(self._timeout_s):
                return READING.validate_json(await _answer(process, raw, is_pec=is_pec))
        except TimeoutError:
            await _end(place)
            raise Unreadable(f"not read in {self._timeout_s:g} s") from None
        except (OSError, EOFError, ValidationError) as error:
            await _end(place)
            raise Unreadable(f"not read: {type(error).__name__}") from error
        except asyncio.CancelledError:
            await _end(place)
            raise


async def _start(place: _Place) -> Process:
    """Start a process and wait until it reads. Raises MailboxFault: that it does not start is no
    mail's fault.
    """
    try:
        process = place.process = await _spawn()
        async with asyncio.timeout(START_S):
            await pipes(process)[1].readexactly(len(READY))
    except (OSError, EOFError, TimeoutError) as error:
        await _end(place)
        raise MailboxFault(f"mail cannot be read here: {type(error).__name__}") from error
    return process


async def _spawn() -> Process:
    # Nothing of our own environment: settings and secrets are there.
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=environment,
        start_new_session=True,  # a Ctrl-C is for us alone
    )


async def _answer(process: Process, raw: bytes, *, is_pec: bool) -> bytes:
    questions, answers = pipes(process)
    questions.write(QUESTION.pack(len(raw), is_pec))
    questions.write(raw)
    await questions.drain()
    (size_bytes,) = ANSWER.unpack(await answers.readexactly(ANSWER.size))
    if size_bytes > LARGEST_ANSWER_BYTES:
        raise EOFError
    return await answers.readexactly(size_bytes)


def pipes(process: Process) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
    return cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)


async def _end(place: _Place) -> None:
    process, place.process = place.process, None
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
