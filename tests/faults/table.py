"""The table of all runs. A file of faults ends with its own `RUNS`, and stands here."""

from tests.faults import clock, crash, disk, limits, nodes, postgres, soak, sqlite, telling
from tests.faults.run import Run

RUNS: tuple[Run, ...] = (
    *crash.RUNS,
    *disk.RUNS,
    *postgres.RUNS,
    *sqlite.RUNS,
    *nodes.RUNS,
    *limits.RUNS,
    *telling.RUNS,
    *clock.RUNS,
    *soak.RUNS,
)
