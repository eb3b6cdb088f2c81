"""What deliveries hold in memory, from the hand-over or the claim to their end."""

from relay.model import Delivery


class Holdings:
    def __init__(self, most_messages: int, most_bytes: int) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._messages = 0
        self._bytes = 0

    @property
    def has_room(self) -> bool:
        return self._messages < self._most_messages and self._bytes < self._most_bytes

    def hold(self, size_bytes: int) -> None:
        self._messages += 1
        self._bytes += size_bytes

    def let_go(self, size_bytes: int) -> None:
        self._messages -= 1
        self._bytes -= size_bytes


def held_bytes(delivery: Delivery) -> int:
    return 0 if delivery.content is None else len(delivery.content)
