"""Config: defaults < pillarbox.toml < environment < command line, checked, as one frozen value.

Whatever is wrong is found in one go and raised as one ConfigError with a line for each mistake;
secrets are never in it. Relative paths count from the instance folder, whatever the working
directory is.
"""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import Field, SecretStr, SkipValidation, TypeAdapter, ValidationError

from relay.config.checks import check
from relay.config.mistake import Mistake, shown
from relay.config.settings import BY_KEY, SETTINGS, TYPES
from relay.config.sources import Found, Given, from_environment, from_overrides, from_toml
from relay.config.tree import Limits, Tree
from relay.config.values import is_host_name, is_instance_name, sqlite_path
from relay.errors import ConfigError

_NOTHING: Mapping[str, object] = MappingProxyType({})
_RUN_SECRETS = Path("/run/secrets")
_GENRO_TICK_S = 0.5


class Config(Tree):
    """All settings of one instance. `origins` says for each TOML key where its value came from."""

    instance_dir: Path
    origins: SkipValidation[Mapping[str, str]] = Field(repr=False)

    @classmethod
    def load(
        cls,
        *,
        home: Path,
        name: str,
        environ: Mapping[str, str],
        overrides: Mapping[str, object] = _NOTHING,
        run_secrets: Path = _RUN_SECRETS,
        file_name: str = "pillarbox.toml",
    ) -> Self:
        """Read the settings of `<home>/<name>/`; `overrides` are by TOML key, None is not given;
        `file_name` is another where one is tried before it becomes the file of settings.

        Raises ConfigError with all mistakes, one a line.
        """
        instance_dir = _instance_dir(home, name)
        sources = [
            from_toml(instance_dir / file_name),
            from_environment(environ, instance_dir=instance_dir, run_secrets=run_secrets),
            from_overrides(overrides),
        ]
        return cls._from(sources, name, instance_dir)

    @classmethod
    def _from(cls, sources: list[Found], name: str, instance_dir: Path) -> Self:
        given = {key: each for source in sources for key, each in source.given.items()}
        mistakes = [mistake for source in sources for mistake in source.mistakes]
        values, bad = _parse(given, instance_dir)
        mistakes += bad
        origins = {key: given[key].origin if key in values else "default" for key in BY_KEY}
        config = cls.model_validate(
            _nested(_with_defaults(values, name, instance_dir))
            | {"instance_dir": instance_dir, "origins": MappingProxyType(origins)}
        )
        if all(source.is_complete for source in sources):
            mistakes += _findings(config, mistakes)
        if mistakes:
            raise ConfigError("\n".join(str(mistake) for mistake in mistakes))
        return config


def _instance_dir(home: Path, name: str) -> Path:
    if not is_instance_name(name):
        raise ConfigError(f"{shown(name)} is not a name for an instance")
    if not str(home).isprintable():
        raise ConfigError(f"PILLARBOX_HOME: {shown(str(home))} cannot be the home of instances")
    return home.absolute() / name


def _parse(
    given: Mapping[str, Given], instance_dir: Path
) -> tuple[dict[str, object], list[Mistake]]:
    values: dict[str, object] = {}
    mistakes: list[Mistake] = []
    for key, each in given.items():
        adapter: TypeAdapter[object] = TypeAdapter(TYPES[key])
        try:
            values[key] = _located(adapter.validate_python(each.value), instance_dir)
        except ValidationError as error:
            mistakes.append(Mistake(key, each.origin, _why(error, key, each.value)))
    return values, mistakes


def _why(error: ValidationError, key: str, value: object) -> str:
    """Say what is wrong with a value, and show it unless it is secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    text = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return text if BY_KEY[key].is_secret else f"{text}, got {shown(value)}"


def _located(value: object, instance_dir: Path) -> object:
    """Make a relative path count from the instance folder, also the one inside a database URL."""
    if isinstance(value, Path):
        return instance_dir / value
    if isinstance(value, SecretStr) and (path := sqlite_path(value.get_secret_value())):
        return SecretStr(f"sqlite:{instance_dir / path}")
    return value


def _with_defaults(
    values: Mapping[str, object], name: str, instance_dir: Path
) -> dict[str, object]:
    """Add what was not given: plain defaults first, then those that depend on other settings."""
    full = {setting.toml_key: setting.default for setting in SETTINGS} | dict(values)
    limits = Limits.model_validate(_nested(full)["limits"])
    hostname = values.get("smtp.hostname", _machine_name())
    derived: dict[str, object] = {
        "name": name,
        "database.url": f"sqlite:{instance_dir / 'pillarbox.db'}",
        "http.max_body_bytes": limits.max_message_bytes * 7 // 5 + 65536,
        "smtp.hostname": hostname,
        "smtp.max_receiving_bytes": 10 * limits.max_message_bytes,
        "upstream.helo_name": hostname,
    }
    if full["compat"] == "genro":
        derived["dispatch.tick_s"] = _GENRO_TICK_S
    return full | derived | dict(values)


def _machine_name() -> str:
    name = socket.gethostname()
    return name if is_host_name(name) else "localhost"


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        tree.setdefault(section, {})[name] = value
    return tree.pop("") | tree


def _findings(config: Config, mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Check the rules between settings, but for those a mistake found already may explain."""
    spoiled = {key for mistake in mistakes for key in (mistake.key, mistake.meant) if key}
    return [
        Mistake(finding.keys[0], config.origins[finding.keys[0]], finding.text)
        for finding in check(config, config.instance_dir)
        if spoiled.isdisjoint(finding.keys)
    ]
