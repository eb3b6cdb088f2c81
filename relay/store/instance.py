"""What a database knows of its instance: the check value of the key that its secrets are sealed
with.
"""

from relay.crypto import Keyring
from relay.errors import ConfigError
from relay.store.database import Database, Query, Script

REMEMBER = "INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
RECALL = "SELECT value FROM instance WHERE name = $1"
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
