"""The settings of an instance, as a command of this process has them."""

import os
from collections.abc import Mapping
from pathlib import Path

from relay.config import Config, ensure_secrets


def load(home: Path, name: str, given: Mapping[str, object]) -> Config:
    """Read every setting, and make the secrets that a first start needs. Raises ConfigError with a
    line for each mistake.
    """
    return ensure_secrets(read(home, name, given))


def read(home: Path, name: str, given: Mapping[str, object]) -> Config:
    """Read every setting, and make nothing. Raises ConfigError with a line for each mistake."""
    return Config.load(home=home, name=name, environ=os.environ, overrides=given)
