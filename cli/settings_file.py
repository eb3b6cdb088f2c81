"""`pillarbox.toml`, changed key by key: its comments stay, and what is not valid is not kept."""

import os
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from cli.home import Instance
from relay.config import Config
from relay.errors import ConfigError

FILE = "pillarbox.toml"


def change(instance: Instance, values: Mapping[str, str | None]) -> None:
    """Change keys of pillarbox.toml; None takes one out. Raises ConfigError: then nothing is
    changed.
    """
    path = (instance.folder / FILE).resolve()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else "")
        for key, value in values.items():
            put(document, key, value)
    except (TOMLKitError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    fresh = path.with_name(f"{FILE}.{os.getpid()}.new")
    write(fresh, tomlkit.dumps(document))
    try:
        check(instance, fresh)
    except ConfigError:
        fresh.unlink()
        raise
    fresh.replace(path)


def put(document: tomlkit.TOMLDocument, key: str, value: str | None) -> None:
    section, _, name = key.rpartition(".")
    table = document if not section else document.setdefault(section, tomlkit.table())
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value_of(value)


def value_of(text: str) -> object:
    """Return a number, a boolean or a list where the text is one in TOML, else the text."""
    try:
        return tomlkit.parse(f"value = {text}\n")["value"]
    except TOMLKitError:
        return text


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, since a setting may be secret."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def check(instance: Instance, fresh: Path) -> None:
    """Raise ConfigError, which names the file as the user knows it."""
    try:
        Config.load(
            home=instance.home, name=instance.name, environ=os.environ, file_name=str(fresh)
        )
    except ConfigError as error:
        raise ConfigError(str(error).replace(fresh.name, FILE)) from None
