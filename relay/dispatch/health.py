"""When an account rests: a circuit breaker for each. Pure.

A fault of the account (no route, TLS, AUTH refused, 421 at the greeting) says nothing of a mail.
The account rests, twice as long after each fault in a row; then one mail probes it, and a success
ends the rest.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """`rest_until` is the caller's clock in seconds; `faults` counts those in a row."""

    faults: int = 0
    rest_until: float = 0.0
    reason: str = ""

    def rests(self, now: float) -> bool:
        return now < self.rest_until

    @property
    def is_doubtful(self) -> bool:
        """True until a success: only one mail at a time may try."""
        return self.faults > 0

    def after_fault(self, reason: str, now: float, first_s: float, longest_s: float) -> "Health":
        if self.rests(now):
            # Several connections fail of one cause: that is one fault.
            return self
        wait_s = min(longest_s, first_s * 2.0**self.faults)
        return Health(self.faults + 1, now + wait_s, reason)
