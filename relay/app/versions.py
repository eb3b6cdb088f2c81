"""The libraries that are installed are at least those that were tested: older ones let commands be
smuggled in, or lose what they read.

The least versions are those of the package itself, so they are written down once (pyproject.toml).
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from relay.errors import ConfigError

# Name and least version; what an extra needs is not looked at.
_NEEDS = re.compile(r"([\w.-]+)[^;]*?>=\s*([\d.]+)[^;]*")


def installed() -> list[tuple[str, str, str]]:
    """Return name, least and installed version of each library ("" where it is missing)."""
    found = (_NEEDS.fullmatch(text) for text in requires("pillarbox") or ())
    return [(match[1], match[2], _version(match[1])) for match in found if match]


def check_versions(libraries: Iterable[tuple[str, str, str]]) -> None:
    """Raise ConfigError for the first that is too old."""
    for name, least, found in libraries:
        if numbers(found) < numbers(least):
            raise ConfigError(
                f"{name} {found or '(missing)'} is installed and {least} is needed:"
                f" pip install '{name}>={least}'"
            )


def numbers(text: str) -> tuple[int, ...]:
    """Return the release of a version (PEP 440) so that versions can be compared."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    parts = [int(part) for part in release[0].split(".")] if release else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
