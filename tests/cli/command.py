"""`pillarbox` as its users run it: its output and its exit code, in a process of its own, in this
one where that is all the same and much quicker, or in a terminal.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pexpect

from cli.main import main
from tests.process import KEY, RUN

PROGRAM = RUN[:-1]
WAIT_S = 30


@dataclass
class Shown:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Cli:
    """The command line with a home of its own; `variables` are its environment besides."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ours = ("PILLARBOX_", "GMP_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**clean, "PILLARBOX_HOME": str(self.home), **self.variables}

    def __call__(self, *words: str, stdin: str | bytes = b"") -> Shown:
        """Run a command in this process."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        with around(words, self.environment, given), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
        return Shown(code, text_of(out), text_of(err))

    def ok(self, *words: str, stdin: str | bytes = b"") -> Shown:
        """Run a command in this process, that must succeed."""
        shown = self(*words, stdin=stdin)
        assert shown.code == 0, (words, shown)
        return shown

    def process(self, *words: str) -> Shown:
        """Run a command in a process of its own."""
        done = subprocess.run(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            timeout=WAIT_S * 2,
            check=False,
            text=True,
        )
        return Shown(done.returncode, done.stdout, done.stderr)

    def terminal(self, *words: str) -> "pexpect.spawn[str]":
        """Run a command in a terminal."""
        return pexpect.spawn(
            PROGRAM[0],
            [*PROGRAM[1:], *words],
            env={**self.environment, "TERM": "xterm-256color"},
            encoding="utf-8",
            timeout=WAIT_S,
            # Who runs the tests in the background may have it ignored, which is inherited.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            dimensions=(40, 100),
        )

    def start(self, name: str) -> None:
        """Start an instance on free ports."""
        shown = self.process("start", name, "--port", "0", "--smtp-port", "0")
        assert shown.code == 0, shown

    def complete(self, *words: str) -> list[str]:
        """Return what the Tab key offers for the last word."""
        done = subprocess.run(
            PROGRAM,
            capture_output=True,
            env={
                **self.environment,
                "_PILLARBOX_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(("pillarbox", *words)),
                "COMP_CWORD": str(len(words)),
            },
            timeout=WAIT_S,
            check=False,
            text=True,
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]


@contextmanager
def around(words: tuple[str, ...], environment: dict[str, str], stdin: bytes) -> Iterator[None]:
    """Be the process of a command: its arguments, its environment, its standard input."""
    before = sys.argv, dict(os.environ), sys.stdin
    sys.argv = ["pillarbox", *words]
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        yield
    finally:
        sys.argv, environ, sys.stdin = before
        os.environ.clear()
        os.environ.update(environ)


def text_of(stream: io.TextIOWrapper) -> str:
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def variables_for(url: str) -> dict[str, str]:
    """Return the environment of an instance on this database."""
    return {"PILLARBOX_DB": url, "PILLARBOX_ENCRYPTION_KEY": KEY}
