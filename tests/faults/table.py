"""The table of all runs. A file of faults ends with its own `RUNS`, and stands here."""

from tests.faults import clock, crash, limits, nodes, telling
from tests.faults.run import Run

RUNS: tuple[Run, ...] = (*crash.RUNS, *nodes.RUNS, *limits.RUNS, *telling.RUNS, *clock.RUNS)
