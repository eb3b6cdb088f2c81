"""The runs of the table that are short enough for every day."""

from pathlib import Path

import pytest

from tests.faults.run import Place, Run, play
from tests.faults.table import RUNS

SHORT = [(run, store) for run in RUNS if run.short for store in run.stores]


def test_every_run_has_a_name_of_its_own_and_is_shorter_every_day() -> None:
    assert len({run.name for run in RUNS}) == len(RUNS)
    assert all(run.short <= run.rounds for run in RUNS)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("run", "store"), [pytest.param(r, s, id=f"{r.name}, {s}") for r, s in SHORT]
)
async def test_nothing_is_lost_and_nothing_is_sent_twice_unsaid(
    run: Run, store: str, tmp_path: Path, postgres_server: str
) -> None:
    result = await play(run, run.short, Place(store, tmp_path, postgres=postgres_server))
    assert not result.violations, "\n".join(str(v) for v in result.violations[:20])
    assert result.accepted, "no mail was accepted, so nothing was tried"
