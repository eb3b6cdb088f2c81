"""How long the event loop of a server is busy: /health asked every 5 ms, from a process of its own.

    python -m bench.probe PORT

It answers on standard output, a time in seconds for each question, when its standard input ends.
/health reads nothing and waits for nobody, so its answer is late by as long as the loop was not
free, and by the call itself. Each wait counts from when the question was to be asked: a stall
counts for every question that it kept from being asked.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.sink import ROOT

EVERY_S = 0.005
ANSWER_S = 30
REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(slots=True)
class Waits:
    """Filled when the watch has ended."""

    values_s: list[float] = field(default_factory=list)


@contextmanager
def watched(port: int) -> Iterator[Waits]:
    """Ask a server again and again while this runs."""
    waits = Waits()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.probe", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it has begun
        yield waits
    finally:
        answer, _ = process.communicate(timeout=ANSWER_S)
    waits.values_s += json.loads(answer)


def waits_of(port: int) -> list[float]:
    """Ask until standard input ends."""
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
        print("begun", flush=True)
        due_at = time.perf_counter()
        while not ended():
            time.sleep(max(0.0, due_at - time.perf_counter()))
            connection.sendall(REQUEST)
            read_answer(connection)
            waits.append(time.perf_counter() - due_at)
            due_at += EVERY_S
    return waits


def ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def read_answer(connection: socket.socket) -> None:
    """Read a small answer; its body is the last line, a JSON object."""
    answer = b""
    while not answer.endswith(b"}"):
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("the server closed the connection")
        answer += part


def main(words: Sequence[str]) -> None:
    print(json.dumps(waits_of(int(words[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
