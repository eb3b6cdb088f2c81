"""Processes that die: kill -9 at random moments under load."""

from tests.faults.actions import kill, sequence, start, wait
from tests.faults.run import Run

RUNS = (
    Run(
        "kill -9 at random",
        sequence(wait(0.05, 0.8), kill(), start()),
        rounds=200,
        short=6,
    ),
)
