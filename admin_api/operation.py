"""What the operator of a node asks of it, beyond what services its API has: its settings, where it
listens, its database file.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from relay.value import frozen


@frozen
class ShownSetting:
    """A setting with its origin; `value` is text that is fit to be shown, secrets are not in it."""

    key: str
    value: str
    origin: str


@frozen
class Listening:
    """`service` is http, smtp or smtps; `address` is a URL or host:port, as it was bound."""

    service: str
    address: str


class Rekey(Protocol):
    """Takes up the keys that are in their file now, and where it `seals`, seals all secrets with
    the first of them; returns how many were.
    """

    def __call__(self, *, seals: bool) -> Awaitable[int]: ...


@frozen
class Operation:
    """`database_file` is None where the database is a server.

    `admin_token_digest` goes before that of the settings: the token may change under the node.
    """

    settings: Sequence[ShownSetting] = ()
    database_file: Path | None = None
    listening: Callable[[], Sequence[Listening]] = tuple
    admin_token_digest: Callable[[], str] | None = None
    rekey: Rekey | None = None
