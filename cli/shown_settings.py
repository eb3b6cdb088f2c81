"""The settings of an instance as they may be shown: each with its origin, none with a secret."""

import re
from collections.abc import Iterable

from pydantic import SecretStr

from admin_api.operation import ShownSetting
from relay.config import SETTINGS, Config

HIDDEN = "(hidden)"
_LOGIN = re.compile(r"://\S*@")
_QUERY = re.compile(r"\?.*")  # libpq takes a password there too


def shown_settings(config: Config) -> list[ShownSetting]:
    return [
        ShownSetting(
            setting.toml_key,
            shown_value(setting.toml_key, value_of(config, setting.toml_key)),
            config.origins[setting.toml_key],
        )
        for setting in SETTINGS
    ]


def value_of(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def shown_value(key: str, value: object) -> str:
    if isinstance(value, SecretStr):
        # A database's address is worth seeing, its login is not.
        is_address = key == "database.url"
        return without_login(value.get_secret_value()) if is_address else HIDDEN
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_login(url: str) -> str:
    return url if url.startswith("sqlite:") else _QUERY.sub("?…", _LOGIN.sub("://…@", url))
