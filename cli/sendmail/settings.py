"""Where the relay is, and as whom it is spoken to.

Each setting comes from the environment (PILLARBOX_SENDMAIL_SERVER, …), else from the user's file,
else from /etc/pillarbox/sendmail.toml. With a `server` mail goes there by SMTP; without one it goes
to the local socket of an instance, as mail of `tenant`.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cli.sendmail.ending import Ended

PREFIX = "PILLARBOX_SENDMAIL_"
SYSTEM_FILE = Path("/etc/pillarbox/sendmail.toml")
LONGEST_TIMEOUT_S = 3600
TLS_MODES = ("auto", "none", "starttls", "implicit")


class Settings(NamedTuple):
    """`tls` auto: implicit on port 465, none on loopback, else STARTTLS. `socket` is a path, by
    default that of the `instance` in `home`.

    `domain` completes addresses that have none, by default with this machine's name; `aliases`
    stand for local names; `sender` is who writes where a mail does not say.
    """

    server: str = ""
    user: str = ""
    password: str = ""
    password_file: str = ""
    tls: str = "auto"
    ca_file: str = ""
    home: str = ""
    instance: str = "default"
    socket: str = ""
    tenant: str = ""
    account: str = ""
    domain: str = ""
    sender: str = ""
    timeout_s: float = 60.0
    aliases: Mapping[str, str] = MappingProxyType({})

    @property
    def host_name(self) -> str:
        return self.domain or socket.getfqdn()

    def qualified(self, name: str) -> str:
        """Return an address, with what a local name stands for."""
        if "@" in name:
            return name
        return self.aliases.get(name) or f"{name}@{self.host_name}"

    def secret(self) -> str:
        """Return the password. Raises Ended."""
        if not self.password_file:
            return self.password
        try:
            return Path(self.password_file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise wrong(f"password_file: {self.password_file}: {error}") from None


NAMES = frozenset(Settings._fields)
TEXTS = NAMES - {"timeout_s", "aliases"}


def load(environ: Mapping[str, str]) -> Settings:
    """Return the settings in force. Raises Ended with EX_CONFIG."""
    found: dict[str, object] = {}
    for path in (SYSTEM_FILE, user_file(environ)):
        found.update(from_file(path))
    found.update(from_environment(environ))
    return settings_of({name: value for name, value in found.items() if value != ""})


def user_file(environ: Mapping[str, str]) -> Path:
    folder = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "pillarbox" / "sendmail.toml"


def from_file(path: Path) -> Iterable[tuple[str, object]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except PermissionError:
        return ()  # where HOME was inherited from another user
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"{path}: {error}") from None
    try:
        table: dict[str, object] = import_module("tomllib").loads(text)  # half of them have no file
    except ValueError as error:
        raise wrong(f"{path}: {error}") from None
    return known(table.items(), str(path))


def from_environment(environ: Mapping[str, str]) -> Iterable[tuple[str, object]]:
    given = [(name, value) for name, value in environ.items() if value and name.startswith(PREFIX)]
    return known(((n.removeprefix(PREFIX).lower(), v) for n, v in given), "environment")


def known(given: Iterable[tuple[str, object]], origin: str) -> Iterator[tuple[str, object]]:
    for name, value in given:
        if name not in NAMES:
            raise wrong(f"{name}: unknown setting, in {origin}")
        yield name, value


def settings_of(found: Mapping[str, object]) -> Settings:
    texts: dict[str, str] = {}
    for name in TEXTS & found.keys():
        value = found[name]
        if not isinstance(value, str):
            raise wrong(f"{name}: a text is expected")
        texts[name] = value
    if texts.get("tls", "auto") not in TLS_MODES:
        raise wrong(f"tls: one of {', '.join(TLS_MODES)} is expected")
    return Settings(
        **texts,
        timeout_s=seconds(found.get("timeout_s", 60.0)),
        aliases=aliases_of(found.get("aliases", {})),
    )


def seconds(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        number = 0.0
    if not 0 < number <= LONGEST_TIMEOUT_S:
        raise wrong(f"timeout_s: seconds are expected, at most {LONGEST_TIMEOUT_S}")
    return number


def aliases_of(value: object) -> Mapping[str, str]:
    if isinstance(value, str):
        value = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise wrong('aliases: a table of name = "address" is expected')
    return value


def wrong(text: str) -> Ended:
    return Ended(os.EX_CONFIG, text)
