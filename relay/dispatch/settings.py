"""What the dispatcher is told of the settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """`hands_over`: mail may go from acceptance to delivery in memory. `tick_s` slows the loop for
    compatibility.
    """

    max_deliveries: int
    memory_bytes: int
    memory_messages: int
    hands_over: bool
    tick_s: float
    first_rest_s: float
    longest_rest_s: float
