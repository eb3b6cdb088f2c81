"""Calls of `add-messages`: their bodies, made before the clock runs, and connections that post
them.

Calls may be held to times of their own (an open loop): then a wait counts from when the call was to
be made, whether or not a connection was free. A refused call ends the measurement.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.pillarbox import ACCOUNT, TENANT, Pillarbox

CONNECTIONS = 20
CALL_S = 60
# A server closes what is idle for long; a client does not use it then.
IDLE_S = 3
LINE = "x" * 74 + "\n"

Message = Mapping[str, object]


@dataclass(slots=True)
class Calls:
    """The bodies that wait to be posted, each with the time that it is due at (monotonic; 0: at
    once), and how long each took.
    """

    due: Iterator[tuple[float, bytes]]
    waits_s: list[float] = field(default_factory=list)


def message(name: str, **more: object) -> Message:
    return {
        "id": name,
        "tenant_id": TENANT,
        "account_id": ACCOUNT,
        "from": "app@bench.test",
        "to": ["bob@bench.test"],
        "subject": "load",
        **more,
    }


def messages(run: str, count: int, size_bytes: int) -> Iterator[Message]:
    text = LINE * (size_bytes // len(LINE))
    return (message(f"{run}-{number}", body=text) for number in range(count))


def bodies(made: Iterable[Message], batch: int = 1) -> list[bytes]:
    """Return the body of each call."""
    every = list(made)
    portions = [every[at : at + batch] for at in range(0, len(every), batch)]
    return [json.dumps({"messages": portion}).encode() for portion in portions]


async def post_all(
    process: Pillarbox, waiting: Sequence[bytes], connections: int = CONNECTIONS
) -> list[float]:
    """Post as fast as they are answered; return how long each took."""
    return await _post(process, Calls(iter([(0.0, body) for body in waiting])), connections)


async def post_at(
    process: Pillarbox, times: Sequence[float], waiting: Sequence[bytes]
) -> list[float]:
    """Post each at its time (seconds from now); return how long each took, from that time."""
    now = time.perf_counter()
    due = [(now + at, body) for at, body in zip(times, waiting, strict=True)]
    return await _post(process, Calls(iter(due)), CONNECTIONS)


async def _post(process: Pillarbox, calls: Calls, connections: int) -> list[float]:
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_post_on_one(process, calls))
    return calls.waits_s


async def _post_on_one(process: Pillarbox, calls: Calls) -> None:
    head = (
        "POST /commands/add-messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-API-Token: {process.token}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", process.http_port)
    for due_at, body in calls.due:
        early_s = due_at - time.perf_counter()
        if early_s > 0:
            await asyncio.sleep(early_s)
        began_at = due_at or time.perf_counter()
        if early_s > IDLE_S:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", process.http_port)
        writer.write(head + b"%d\r\n\r\n" % len(body) + body)
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
