"""The reference is as the code is, and every command that a page shows can be typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.grammar import INSTANCE, ROOT, TENANT
from docs import generate

PAGES = sorted(Path(generate.__file__).parent.glob("**/*.md"))
README = Path(generate.__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?ms)^( *)```(?:console|text)\n(.*?)^ *```$")
# At a line's start, or behind what a shell or docker puts before it.
CALL = re.compile(r"(?:^ *|\$\(|&& |\| |/bin/|exec \w+ )(pillarbox [^|)&]+)")
INLINE = re.compile(r"`(pillarbox [^`]+)`")


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_that_is_made_is_as_it_would_be_made_now(name: str) -> None:
    """`python -m docs.generate` makes it so."""
    assert (generate.FOLDER / name).read_text() == generate.PAGES[name]()


def typed(page: Path) -> Iterator[str]:
    """Give every command of ours that a page shows."""
    text = page.read_text()
    yield from (found.replace("\n", " ") for found in INLINE.findall(text))
    for _, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from CALL.findall(line)


COMMANDS = [
    pytest.param(command, id=f"{page.stem}: {command.strip()}")
    for page in (README, *(p for p in PAGES if p.parent != generate.FOLDER))
    for command in typed(page)
]


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_that_a_page_shows_can_be_typed(text: str) -> None:
    words = shlex.split(text, comments=True)[1:]
    command, rest = found(words)
    while isinstance(command, click.Group) and rest:
        name, *rest = rest
        below = command.get_command(click.Context(command), name)
        assert below, f"{command.name} has no {name}"
        command = below
    known = {option for param in command.params for option in param.opts + param.secondary_opts}
    asked = {word.partition("=")[0] for word in rest if re.match(r"--?\w", word)}
    assert asked <= known | {"--help"}


def found(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that is meant, and what follows it."""
    name, *rest = words
    if name in ROOT:
        return ROOT[name].load(), rest
    assert rest, f"{name} is no command"
    if rest[0] in INSTANCE:
        return INSTANCE[rest[0]].load(), rest[1:]
    assert rest[1] in TENANT, f"{rest[1]} is no command for a tenant"
    return TENANT[rest[1]].load(), rest[2:]
