"""How a command fails: one line on standard error, and an exit code (sysexits.h where one fits)."""

import os
from typing import IO, Any

import click

EX_UNAVAILABLE = 69  # os has it on Unix only, as it has the others


class Failure(click.ClickException):
    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = code  # type: ignore[misc] # click reads it of the instance

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"pillarbox: {self.message}", file=file, err=file is None)


def not_running(name: str) -> Failure:
    return Failure(f"{name} is not running; start it with: pillarbox start {name}", EX_UNAVAILABLE)


def code_of_status(status: int) -> int:
    """Return the exit code for an answer that is no success."""
    if status in (401, 403):
        return os.EX_NOPERM
    if status in (429, 503, 507):
        return os.EX_TEMPFAIL
    return os.EX_SOFTWARE if status >= 500 else 1
