"""How long a storage may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`timeout_s`, and the time that so many bytes need."""

    timeout_s: float
    min_rate_bytes_s: int

    def for_bytes(self, size_bytes: int) -> float:
        return self.timeout_s + size_bytes / self.min_rate_bytes_s
