"""Processes that die: kill -9 under load, at random moments and at each point of a mail's way."""

from tests.faults.actions import die_at, kill, sequence, start, wait
from tests.faults.run import Run

ON_THE_WAY = (
    "stored, before commit",
    "committed, before the reply",
    "claimed, before commit",
    "claimed",
    "envelope said",
    "begun, before DATA",
    "354 read, before the content",
    "dot written",
    "reply read, before settling",
    "settled, before commit",
    "settled",
)

RUNS = (
    Run(
        "kill -9 at random",
        sequence(wait(0.05, 0.8), kill(), start()),
        rounds=200,
        short=6,
    ),
    *(
        Run(
            f"kill -9: {point}",
            die_at(point),
            rounds=10,
            settings={"PILLARBOX_DISPATCH_HANDOVER_MESSAGES": "0"} if "claimed" in point else {},
        )
        for point in ON_THE_WAY
    ),
)
