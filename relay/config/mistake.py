"""One mistake in the settings as one line, and the key that was probably meant."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with `key`; `origin` is a file, a variable or the command line.

    `meant` is the TOML key that a wrong name was probably meant to be: what follows from its
    absence is no news.
    """

    key: str
    origin: str
    text: str
    meant: str | None = None

    def __str__(self) -> str:
        return f"{printable(self.key)}: {printable(self.text)} ({printable(self.origin)})"


def printable(text: str) -> str:
    """Return the text on one line: what cannot be printed is escaped, what is too long is cut."""
    cut = text if len(text) <= _SHOWN_CHARACTERS * 5 else text[: _SHOWN_CHARACTERS * 5] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in cut
    )


def shown(value: object) -> str:
    """Return a value that is no secret as the user would know it again."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    matches = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
