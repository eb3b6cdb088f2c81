"""The table of all runs. A file of faults ends with its own `RUNS`, and stands here."""

from tests.faults import crash, soak
from tests.faults.run import Run

RUNS: tuple[Run, ...] = (*crash.RUNS, *soak.RUNS)
