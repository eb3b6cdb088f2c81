"""The harness is tried on a relay that lies."""

from pathlib import Path

import pytest

from tests.faults import lying
from tests.faults.actions import wait
from tests.faults.run import Place, Run, play


@pytest.mark.slow
async def test_a_relay_that_loses_repeats_and_damages_mail_is_found_out(tmp_path: Path) -> None:
    run = Run("lies", wait(2), rounds=1, serve=lying.COMMAND)
    result = await play(run, 1, Place("sqlite", tmp_path))
    assert {violation.invariant for violation in result.violations} == {"I1", "I2", "I3"}
    assert result.lost
    assert result.duplicated
