"""Leases that may be in the store although nobody here heard of the commit that took them.

A commit that was not answered may also come late: a server that was frozen goes on with what it had
read. So each is asked for again and again, for longer than any server should be frozen.
"""

from collections.abc import Callable

from relay.errors import CommitInDoubt, RelayError, StoreUnavailable

PATIENCE_S = 900.0


class Doubts:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[int, float] = {}

    def note(self, claim: int | None, error: RelayError) -> None:
        """Remember the number of a lease that ended so; other errors than of the store leave no
        doubt.
        """
        if claim is not None and isinstance(error, StoreUnavailable):
            patience_s = PATIENCE_S if isinstance(error, CommitInDoubt) else 0.0
            self._until[claim] = self._clock() + patience_s

    @property
    def claims(self) -> list[int]:
        return sorted(self._until)

    def asked(self, claims: list[int]) -> None:
        """Forget those of these that were asked for often enough."""
        now = self._clock()
        for claim in claims:
            if self._until[claim] <= now:
                del self._until[claim]
