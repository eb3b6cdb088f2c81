"""Operating a node."""

from admin_api.schemas.model import Model, Ok, Seconds


class SettingOutput(Model):
    key: str
    value: str
    """As text; secrets are hidden."""
    origin: str
    """A file, a variable, `command line` or `default`."""


class SettingsShown(Ok):
    settings: list[SettingOutput]


class Standing(Ok):
    active: bool
    """Whether this node takes mail."""


class RekeyQuery(Model):
    only_take_up: bool = False
    """Take up the keys and seal nothing, so that other nodes may begin to."""


class Rekeyed(Ok):
    sealed: int
    """Secrets that were sealed anew."""


class PurgeQuery(Model):
    until: Seconds
    """Commands done before this time go (Unix seconds)."""


class Purged(Ok):
    removed: int
