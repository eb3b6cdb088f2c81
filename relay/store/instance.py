"""What a database knows of its instance: the check value of the key that its secrets are sealed
with, and what was set through the API.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from relay.crypto import Keyring
from relay.errors import ConfigError
from relay.store.database import Database, Query, Script

REMEMBER = "INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
RECALL = "SELECT value FROM instance WHERE name = $1"
RECALL_TO_CHANGE = "SELECT value FROM instance WHERE name = $1 {for_update}"
RENEW = "UPDATE instance SET value = $2 WHERE name = $1"
SETTINGS = "settings"
TOPIC = "instance"
SEALED_AT = "instance/settings/bounce_imap_password"
TOUCH = """
INSERT INTO instance (name, value) VALUES ('touched', $1) ON CONFLICT (name) DO UPDATE SET value =
    $1
"""


async def check_key(database: Database, keyring: Keyring) -> None:
    """Remember the key at the first start; raise ConfigError when a later one is another."""

    def script() -> Script[str]:
        yield Query(REMEMBER, ("key_check", keyring.key_check()))
        value: str = (yield Query(RECALL, ("key_check",)))[0]["value"]
        return value

    if not keyring.matches(await database.write(script)):
        raise ConfigError(
            "encryption_key: this is not the key that this database was made with; its secrets"
            " cannot be opened"
        )


async def touch(database: Database) -> None:
    """Write something, to see that the database can be written to."""
    now = database.now()

    def script() -> Script[None]:
        yield Query(TOUCH, (f"{now:.0f}",))

    await database.write(script)


@dataclass(frozen=True, slots=True)
class BounceMailbox:
    """The mailbox that bounces come to."""

    bounce_enabled: bool = False
    bounce_imap_host: str | None = None
    bounce_imap_port: int = 993
    bounce_imap_user: str | None = None
    bounce_imap_password: str | None = field(default=None, repr=False)
    bounce_imap_folder: str = "INBOX"
    bounce_imap_ssl: bool = True
    bounce_poll_interval: int = 60
    bounce_return_path: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What was set through the API; `name` is None where it is that of the settings."""

    name: str | None = None
    bounce: BounceMailbox = BounceMailbox()


class InstanceStore:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def read(self) -> InstanceSettings:
        rows = await self._database.fetch(RECALL, SETTINGS)
        return self._opened(rows[0]["value"]) if rows else InstanceSettings()

    async def change(self, change: Callable[[InstanceSettings], InstanceSettings]) -> None:
        """Change what is stored; two that do so at once take turns. `change` must be pure."""

        def script() -> Script[None]:
            yield Query(REMEMBER, (SETTINGS, "{}"))
            stored = (yield Query(RECALL_TO_CHANGE, (SETTINGS,)))[0]["value"]
            yield Query(RENEW, (SETTINGS, self._sealed(change(self._opened(stored)))))

        await self._database.write(script)
        await self._database.signal(TOPIC, "")

    def _opened(self, text: str) -> InstanceSettings:
        values = json.loads(text)
        if not values:
            return InstanceSettings()
        password = values["bounce"]["bounce_imap_password"]
        if password is not None:
            values["bounce"]["bounce_imap_password"] = self._keyring.open(password, where=SEALED_AT)
        return InstanceSettings(values["name"], BounceMailbox(**values["bounce"]))

    def _sealed(self, settings: InstanceSettings) -> str:
        values = asdict(settings)
        password = settings.bounce.bounce_imap_password
        if password is not None:
            values["bounce"]["bounce_imap_password"] = self._keyring.seal(password, where=SEALED_AT)
        return json.dumps(values)
