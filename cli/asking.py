"""Values that are missing are asked for on a terminal, and are an error elsewhere; a secret is
never an argument that `ps` shows.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cli.failure import Failure

Command = TypeVar("Command", bound=Callable[..., Any])

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

MOST_SECRET_BYTES = 4096


def on_terminal() -> bool:
    return sys.stdin.isatty()


def asked(*names: str, label: str, **settings: Any) -> Callable[[Command], Command]:
    """Declare an option that is asked for where it is not given."""

    def ask(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
        if value is not None or ctx.resilient_parsing:
            return value
        if not on_terminal():
            raise click.MissingParameter(ctx=ctx, param=option)
        return click.prompt(label, type=option.type, err=True)

    return click.option(*names, callback=ask, **settings)


def asked_argument(
    name: str, metavar: str, label: str, complete: Complete | None = None
) -> Callable[[Command], Command]:
    """Declare an argument that is asked for where it is not given."""

    def ask(ctx: click.Context, argument: click.Parameter, value: Any) -> Any:
        if value is not None or ctx.resilient_parsing:
            return value
        if not on_terminal():
            raise click.MissingParameter(ctx=ctx, param=argument, param_hint=metavar)
        return click.prompt(label, type=argument.type, err=True)

    return click.argument(
        name, metavar=metavar, required=False, callback=ask, shell_complete=complete
    )


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if that is wanted. Raises Abort, or Failure where nobody can be asked."""
    if yes:
        return
    if not on_terminal():
        raise Failure("say --yes: there is no terminal to ask at", 2)
    click.confirm(question, abort=True, err=True)


def secret_options(what: str) -> Callable[[Command], Command]:
    """Declare `--<what>-stdin` and `--<what>-file`."""
    name = what.replace(" ", "-")

    def declare(command: Command) -> Command:
        command = click.option(
            f"--{name}-file",
            "secret_file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=f"Read the {what} from a file.",
        )(command)
        return click.option(
            f"--{name}-stdin",
            "secret_stdin",
            is_flag=True,
            help=f"Read the {what} from standard input.",
        )(command)

    return declare


def secret(label: str, *, stdin: bool, file: Path | None, twice: bool = False) -> str | None:
    """Return a secret from where it was said to be, else by a prompt; None where there is neither
    a source nor a terminal.
    """
    if stdin and file:
        raise Failure("a secret comes from standard input or from a file, not from both", 2)
    if file is not None:
        return first_line(file.read_text(encoding="utf-8"))
    if stdin:
        return first_line(sys.stdin.read(MOST_SECRET_BYTES))
    if not on_terminal():
        return None
    entered: str = click.prompt(
        label, hide_input=True, confirmation_prompt=twice, err=True, default="", show_default=False
    )
    return entered or None


def first_line(text: str) -> str:
    line = text.partition("\n")[0].removesuffix("\r")
    if not line:
        raise Failure("the secret that was given is empty", 2)
    return line
