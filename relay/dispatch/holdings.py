"""What deliveries hold in memory, from the hand-over or the claim to their end.

What stands aside since its upstream is slow takes no room from the others: it has as many bytes of
its own. As much again is in reserve for those who hold nothing.
"""

from relay.dispatch.outlet import Outlet
from relay.model import Delivery

RESERVE = 2


class Holdings:
    def __init__(self, most_messages: int, most_bytes: int) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._messages = 0
        self._bytes = 0
        self._aside_bytes = 0

    @property
    def has_room(self) -> bool:
        return self._messages < self._most_messages and self._bytes < self._most_bytes

    @property
    def has_reserve(self) -> bool:
        """True where who holds nothing may have a little even when there is no room."""
        return (
            self._messages < self._most_messages * RESERVE
            and self._bytes < self._most_bytes * RESERVE
        )

    def has_room_for(self, outlet: Outlet) -> bool:
        return self.has_room or (outlet.holds_nothing and self.has_reserve)

    @property
    def free_messages(self) -> int:
        return self._most_messages - self._messages

    def hold(self, size_bytes: int) -> None:
        self._messages += 1
        self._bytes += size_bytes

    def let_go(self, size_bytes: int) -> None:
        self._messages -= 1
        self._bytes -= size_bytes

    def set_aside(self, size_bytes: int) -> bool:
        """Make room for others, if what stands aside is not too much already."""
        if self._aside_bytes + size_bytes > self._most_bytes:
            return False
        self._aside_bytes += size_bytes
        self.let_go(size_bytes)
        return True

    def take_back(self, size_bytes: int) -> None:
        self._aside_bytes -= size_bytes
        self.hold(size_bytes)


def held_bytes(delivery: Delivery) -> int:
    return 0 if delivery.content is None else len(delivery.content)
