"""The home of instances: which there are, where their parts lie, which one is in use."""

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from admin_api.local import address_of
from cli.failure import Failure

CURRENT = "current"
MARKS = ("pillarbox.toml", "node_id", "api_token", "encryption_key", "pillarbox.db")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def default_home() -> Path:
    return Path(os.environ.get("PILLARBOX_HOME") or "~/.pillarbox").expanduser()


@dataclass(frozen=True, slots=True)
class Instance:
    home: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.home.absolute() / self.name

    @property
    def log(self) -> Path:
        return self.folder / "pillarbox.log"

    @property
    def exists(self) -> bool:
        return any((self.folder / mark).exists() for mark in MARKS)

    def live_sockets(self) -> list[Path]:
        """Return the sockets at which a node of it answers on this machine."""
        return [path for path in sorted(self.folder.glob("api*.sock")) if is_live(path)]


def check_owner(instance: Instance) -> None:
    """Raise Failure where an instance is another user's: files made here would lock it out."""
    owner = instance.folder.stat().st_uid
    if owner != os.geteuid():
        raise Failure(
            f"{instance.folder} belongs to user {owner}: do this as that user", os.EX_NOPERM
        )


def is_live(path: Path) -> bool:
    """Whether somebody listens: the socket of a node that was killed stays behind."""
    with socket.socket(socket.AF_UNIX) as probe, address_of(path) as address:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def instances(home: Path) -> Iterator[Instance]:
    try:
        names = sorted(entry.name for entry in os.scandir(home) if entry.is_dir())
    except OSError:
        return
    for name in names:
        instance = Instance(home, name)
        if NAME.fullmatch(name) and instance.exists:
            yield instance


def current(home: Path) -> tuple[str | None, str | None]:
    """Return the instance and the tenant that are in use, by `pillarbox use`."""
    try:
        text = (home / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None, None
    name, _, tenant_id = text.partition("/")
    return name or None, tenant_id or None
