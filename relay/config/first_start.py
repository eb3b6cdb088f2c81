"""The secrets of an instance that nobody gave: made at the first start, read at every other.

They are files of the instance folder that only its owner can read. A file is written whole and
synced before it is used: a key that vanished with the power would make every stored password
unreadable.
"""

import base64
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from relay.config.checks import KEY_FILE, KEY_IS_MISSING, SHORTEST_TOKEN
from relay.config.load import Config
from relay.config.mistake import Mistake
from relay.config.sources import is_absent, read_text
from relay.crypto import Keyring, new_secret
from relay.errors import ConfigError

TOKEN_FILE = "api_token"  # noqa: S105 - a file name


def ensure_secrets(config: Config) -> Config:
    """Make the instance folder and the secrets that are missing; return the config with both.

    The encryption key is made for SQLite only: nodes that share a database must be given the same
    one. Raises ConfigError.
    """
    _make_folder(config.instance_dir)
    if config.encryption_key is None:
        config = _with(config, "encryption_key", _encryption_key(config))
    if config.http.api_token is None:
        path = config.instance_dir / TOKEN_FILE
        config = _with(config, "http.api_token", _read_or_make(path, "http.api_token", new_secret))
    return config


def read_key_again(config: Config) -> Config:
    """Return the config with the encryption key that is in its file now, where it is kept in the
    instance folder; elsewhere it is as it was. Raises ConfigError.
    """
    path = config.instance_dir / KEY_FILE
    if config.origins["encryption_key"] != str(path):
        return config
    return _with(config, "encryption_key", _encryption_key(config))


def _with(config: Config, key: str, found: tuple[str, Path]) -> Config:
    text, path = found
    changed: dict[str, object] = {"origins": MappingProxyType({**config.origins, key: str(path)})}
    if key == "http.api_token":
        changed["http"] = config.http.model_copy(update={"api_token": SecretStr(text)})
    else:
        changed[key] = SecretStr(text)
    return config.model_copy(update=changed)


def _encryption_key(config: Config) -> tuple[str, Path]:
    path = config.instance_dir / KEY_FILE
    if is_absent(path):
        _refuse_to_replace_a_lost_key(config, path)
    text, path = _read_or_make(path, "encryption_key", _new_key)
    try:
        Keyring.from_text(text)
    except ConfigError as error:
        raise _refusal("encryption_key", path, str(error)) from None
    return text, path


def _refuse_to_replace_a_lost_key(config: Config, path: Path) -> None:
    database = config.database.sqlite_path
    if database is None:
        raise _refusal("encryption_key", path, KEY_IS_MISSING)
    if not is_absent(database):
        raise _refusal(
            "encryption_key",
            path,
            f"is missing, but {database} was made with one: restore the file or give the key",
        )


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: the folder cannot be made: {error.strerror}") from None


def _read_or_make(path: Path, key: str, make: Callable[[], str]) -> tuple[str, Path]:
    if is_absent(path):
        try:
            with suppress(FileExistsError):  # another process was faster: its secret is the one
                _write(path, make())
        except OSError as error:
            raise _refusal(key, path, f"the file cannot be made: {error.strerror}") from None
    return _read(path, key), path


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, key: str) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        text = read_text(path)
    except OSError as error:
        raise _refusal(key, path, f"the file cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise _refusal(key, path, f"the file {error}") from None
    if mode & 0o077:
        raise _refusal(key, path, f"can be read by others (mode {mode:04o}): chmod 600 {path}")
    if len(text) < SHORTEST_TOKEN:
        raise _refusal(key, path, "the file is empty or cut short: restore it, or remove it")
    return text


def _refusal(key: str, path: Path, text: str) -> ConfigError:
    return ConfigError(str(Mistake(key, str(path), text)))
