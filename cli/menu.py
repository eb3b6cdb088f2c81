"""A group of commands that are imported when they are run, and not before.

Help, completion and typos need the names and a line about each, which the menu has: `--help` and
the Tab key are answered without importing a server.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class Entry(NamedTuple):
    """A command: where it is, `module:attribute`, and what the menu says of it."""

    target: str
    help: str

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class Menu(click.Group):
    """`followers` are the sections of the help below the commands: names that can follow too."""

    def __init__(self, entries: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(context_settings=dict(HELP_NAMES), **settings)
        self.entries = entries

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        return entry.load() if entry else self.other(ctx, cmd_name)

    def other(self, _ctx: click.Context, _name: str) -> click.Command | None:
        """Return what a word means that is no command of this menu."""
        return None

    def others(self, _ctx: click.Context) -> Iterable[tuple[str, str]]:
        """Return the words besides the commands that can follow, each with a line about it."""
        return ()

    def refuse(self, ctx: click.Context, word: str) -> NoReturn:
        ctx.fail(f"{word!r} is no command here{self.hint(ctx, word)}")

    def hint(self, ctx: click.Context, word: str) -> str:
        known = [*self.entries, *(name for name, _ in self.others(ctx))]
        return did_you_mean(word, known)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            self.refuse(ctx, args[0])
        return args[0] if command else None, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
        others = list(self.others(ctx))
        if others:
            with formatter.section(self.others_title):
                formatter.write_dl(others)

    others_title = "Or"

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        words = [(name, entry.help) for name, entry in self.entries.items()]
        if not incomplete.startswith("-"):
            words += self.others(ctx)
        found = [
            CompletionItem(name, help=text) for name, text in words if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    names = list(known)
    begun = [name for name in names if word and name.startswith(word)]
    nearest = begun or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
