"""Where values come from: `pillarbox.toml`, the environment, the command line.

Each source gives the values it holds by TOML key, each with its origin, and the names it does not
know. An empty text is the same as nothing given, in all of them: `docker compose` passes `VAR=` for
a variable that is not set.

pydantic-settings would read the file and the variables, but not as the contract asks: it drops the
origin of a value, knows neither `X_FILE` nor an unknown variable, and stops at a file it cannot
read. So this layer is ours, and pydantic does what it is best at: the types.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.config.mistake import Mistake, nearest
from relay.config.settings import BY_KEY, SECTIONS, SETTINGS, Setting, ruled_name

_PREFIX = "PILLARBOX_"
_IGNORED = re.compile(r"PILLARBOX_(?:HOME|TEST_.*|SENDMAIL_.*)", re.DOTALL)
# Kubernetes gives these to every container beside a Service called `pillarbox` or `pillarbox-…`.
_SERVICE_LINK = re.compile(
    r"PILLARBOX_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_LARGEST_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    value: object = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one source holds; `is_complete` is false when the source could not be read."""

    given: Mapping[str, Given]
    mistakes: tuple[Mistake, ...] = ()
    is_complete: bool = True


def read_text(path: Path) -> str:
    """Return the text of a small file without the white space around it.

    Raises ValueError, which says what is wrong and nothing of the content.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("is not a path") from None
    if len(content) > _LARGEST_FILE_BYTES:
        raise ValueError("is too large")
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def is_absent(path: Path) -> bool:
    """Whether there is surely nothing at this path; what may not be looked at is not absent."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def from_toml(path: Path) -> Found:
    """Read the settings file; one that is not there holds nothing."""
    if is_absent(path):
        return Found({})
    try:
        table = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        return Found({}, (Mistake("pillarbox.toml", str(path), str(error)),), is_complete=False)
    given: dict[str, Given] = {}
    mistakes: list[Mistake] = []
    for key, value in _leaves(table):
        if key in BY_KEY:
            given[key] = Given(value, str(path))
        elif key in SECTIONS:
            mistakes.append(Mistake(key, str(path), f"is a section: write [{key}]"))
        else:
            mistakes.append(_unknown_key(key, str(path)))
    return Found(_not_empty(given), tuple(mistakes))


def _leaves(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict) and (value or name in SECTIONS) and name not in BY_KEY:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def from_overrides(overrides: Mapping[str, object]) -> Found:
    """Take what the command line gives by TOML key; None is a flag that was not used."""
    origin = "command line"
    given = {key: Given(value, origin) for key, value in overrides.items() if value is not None}
    mistakes = [_unknown_key(key, origin) for key in given if key not in BY_KEY]
    known = {key: value for key, value in given.items() if key in BY_KEY}
    return Found(_not_empty(known), tuple(mistakes))


def from_environment(environ: Mapping[str, str], *, instance_dir: Path, run_secrets: Path) -> Found:
    given: dict[str, Given] = {}
    mistakes = list(_unknown_variables(environ))
    for setting in SETTINGS:
        try:
            value = _from_variables(setting, environ, instance_dir)
        except _BadVariableError as error:
            mistakes.append(error.mistake)
            continue
        if value is not None:
            given[setting.toml_key] = value
    mounted = run_secrets / "encryption_key"
    if "encryption_key" not in given and not is_absent(mounted):
        _add_mounted_key(mounted, given, mistakes)
    return Found(given, tuple(mistakes))


class _BadVariableError(Exception):
    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def _from_variables(
    setting: Setting, environ: Mapping[str, str], instance_dir: Path
) -> Given | None:
    for name in setting.env_names:
        value = environ.get(name, "")
        path = environ.get(f"{name}_FILE", "") if setting.is_secret else ""
        if value and path:
            text = f"is given twice, by {name} and by {name}_FILE"
            raise _BadVariableError(Mistake(setting.toml_key, name, text))
        if path:
            return _from_file(setting, f"{name}_FILE", instance_dir / path)
        if value:
            return Given(_as_url(value) if name == "GMP_DB_PATH" else value, name)
    return None


def _from_file(setting: Setting, variable: str, path: Path) -> Given:
    origin = f"{variable}={path}"
    try:
        text = read_text(path)
    except ValueError as error:
        raise _BadVariableError(Mistake(setting.toml_key, origin, f"the file {error}")) from None
    if not text:
        raise _BadVariableError(Mistake(setting.toml_key, origin, "the file is empty"))
    return Given(text, origin)


def _add_mounted_key(path: Path, given: dict[str, Given], mistakes: list[Mistake]) -> None:
    try:
        given["encryption_key"] = Given(read_text(path), str(path))
    except ValueError as error:
        mistakes.append(Mistake("encryption_key", str(path), f"the file {error}"))


def _as_url(path_or_url: str) -> str:
    """Return a database URL; genro-mail-proxy takes a bare path too."""
    is_url = "://" in path_or_url or path_or_url.startswith("sqlite:")
    return path_or_url if is_url else f"sqlite:{path_or_url}"


def _unknown_key(key: str, origin: str) -> Mistake:
    meant = nearest(key, BY_KEY)
    hint = f"; did you mean {meant}?" if meant else ""
    return Mistake(key, origin, f"unknown key{hint}", meant)


def _variables() -> dict[str, str]:
    """Map each variable to its TOML key."""
    names = {name: setting.toml_key for setting in SETTINGS for name in setting.env_names}
    files = {
        f"{name}_FILE": setting.toml_key
        for setting in SETTINGS
        if setting.is_secret
        for name in setting.env_names
    }
    return names | files


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Mistake]:
    known = _variables()
    ruled = {ruled_name(key): BY_KEY[key].env_names[0] for key in BY_KEY}
    for name, value in environ.items():
        if not name.startswith(_PREFIX) or name in known or _is_not_ours(name, value):
            continue
        meant = ruled.get(name) or nearest(name, known)
        hint = f"; did you mean {meant}?" if meant else ""
        yield Mistake(name, "environment", f"unknown variable{hint}", known.get(meant or ""))


def _is_not_ours(name: str, value: str) -> bool:
    is_port_link = name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    return bool(_IGNORED.fullmatch(name) or _SERVICE_LINK.fullmatch(name) or is_port_link)


def _not_empty(given: Mapping[str, Given]) -> dict[str, Given]:
    return {key: each for key, each in given.items() if each.value != ""}
