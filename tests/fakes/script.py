"""What a fake upstream is told to do, and what it remembers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Slowly:
    reply: str
    byte_s: float


@dataclass(frozen=True, slots=True)
class Raw:
    data: bytes
    drop: bool = False


class Sign:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


DROP = Sign("DROP")
RESET = Sign("RESET")
HANG = Sign("HANG")
NO_TLS = Sign("NO_TLS")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the dialogue stands. `mail` counts from 1 on this connection, `total` over all."""

    verb: str
    argument: str
    connection: int
    mail: int
    total: int
    sender: str
    recipients: tuple[str, ...]


Action = str | Slowly | Raw | Sign | None
_Rule = Action | Callable[[Moment], Action | Awaitable[Action]] | list[Action]
Rule = _Rule | Mapping[str, _Rule]


@dataclass(frozen=True, slots=True)
class Received:
    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    tls: bool
    user: str | None
    at: float
    connection: int
    mail_parameters: str
    rcpt_parameters: tuple[str, ...]
