"""How much content a node is receiving at once.

Promises: it does not grow past its bound, however many clients send at the same time: who comes
when it is full is asked to come again. Content counts until it is stored or refused.
"""

from types import TracebackType
from typing import Self

from relay.errors import Refused


class Receiving:
    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def check(self, size_bytes: int) -> None:
        """Raise Refused when there is no room for so much (0: for a mail of unknown size)."""
        if self.held_bytes + max(size_bytes, 1) > self._most_bytes:
            raise full()

    def grow(self, count: int) -> bool:
        """Hold more; tell whether there was room for it."""
        if self.held_bytes + count > self._most_bytes:
            return False
        self.held_bytes += count
        return True


class Share:
    """What one mail holds. It is given back at the end, or when it got more than there is room for;
    then the mail is lost, and `is_full` says why.
    """

    __slots__ = ("_held_bytes", "_receiving", "is_full")

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving
        self._held_bytes = 0
        self.is_full = False

    def grow(self, count: int) -> bool:
        """Hold more; tell whether there was room for it, and for all before it."""
        if self.is_full:
            return False
        self.is_full = not self._receiving.grow(count)
        if self.is_full:
            self._give_back()
        else:
            self._held_bytes += count
        return not self.is_full

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        self._receiving.held_bytes -= self._held_bytes
        self._held_bytes = 0


def full() -> Refused:
    return Refused("Too much mail is coming in at once, try again", code=452, enhanced="4.3.1")
