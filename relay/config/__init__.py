"""The settings of an instance: one frozen tree, or one ConfigError that names every mistake.

`Config.load` reads, `ensure_secrets` makes what a first start needs, `SETTINGS` is the list that
documentation and `conf/pillarbox.toml` are held against.
"""

from relay.config.first_start import ensure_secrets, read_key_again
from relay.config.load import Config
from relay.config.settings import SETTINGS, Setting
from relay.config.tree import (
    Callback,
    Database,
    Dispatch,
    Http,
    Limits,
    Log,
    Retry,
    Smtp,
    Upstream,
)
from relay.config.values import Listen

__all__ = [
    "SETTINGS",
    "Callback",
    "Config",
    "Database",
    "Dispatch",
    "Http",
    "Limits",
    "Listen",
    "Log",
    "Retry",
    "Setting",
    "Smtp",
    "Upstream",
    "ensure_secrets",
    "read_key_again",
]
