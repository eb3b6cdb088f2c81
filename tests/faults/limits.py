"""Limits that all nodes keep together, while one of them dies: of what leaves by an account in a
minute and in an hour, and of what a tenant may give.
"""

import random
from collections.abc import Sequence
from time import time

from tests.faults.actions import Action, sequence, wait
from tests.faults.house import House
from tests.faults.invariants import Violation
from tests.faults.ledgers import Books, Reply
from tests.faults.nodes import NODES, PACE, SHARED, any_node, die
from tests.faults.run import Run

MINUTE_S, HOUR_S = 60, 3600
# By an account of `acme` in a minute; by one of `rival` in an hour, and what `rival` may give.
BY_MINUTE, BY_HOUR, QUOTA = 60, 40, 100


class Limits:
    """What was set, and until when: only afterwards all that waits may leave."""

    def __init__(self) -> None:
        self._lifted_at = 0.0

    async def set(self, house: House, _chance: random.Random) -> None:
        acme, rival = (house.account(house.tenants[name]) for name in ("acme", "rival"))
        post = house.nodes[0].post
        await post("/account", {**acme, "limit_per_minute": BY_MINUTE})
        await post("/account", {**rival, "limit_per_hour": BY_HOUR})
        await change(house, "rival", rate_limits={"hourly": QUOTA})

    async def lift(self, house: House, _chance: random.Random) -> None:
        house.collect()
        self._lifted_at = time()
        for tenancy in house.tenants.values():
            await house.nodes[0].post("/account", house.account(tenancy))
        await change(house, "rival", rate_limits=None)

    async def were_kept(self, house: House, books: Books) -> list[Violation]:
        left = {
            name: sorted(got.at for got in sink.ledger.mails if got.at < self._lifted_at)
            for name, sink in house.sinks.items()
        }
        counted = {
            "acme in a minute": (busiest(left["acme"], MINUTE_S), BY_MINUTE),
            "rival in an hour": (busiest(left["rival"], HOUR_S), BY_HOUR),
        }
        found = [
            Violation("limit", what, f"{mails} mails left, and {most} may")
            for what, (mails, most) in counted.items()
            # What a killed node had begun is counted whether or not it left.
            if not 0.7 * most <= mails <= most
        ]
        return [*found, *self._quota(books)]

    def _quota(self, books: Books) -> list[Violation]:
        replies = [given.reply for given in books.given if given.tenant_id == "rival"]
        taken, doubts = replies.count(Reply.ACCEPTED), replies.count(Reply.NOTHING)
        if taken <= QUOTA <= taken + doubts:
            return []
        what = f"{taken} mails were taken, and {doubts} perhaps, where {QUOTA} may be given"
        return [Violation("limit", "rival", what)]


async def change(house: House, tenant_id: str, **settings: object) -> None:
    answer = await house.nodes[0].client.put(f"/tenant/{tenant_id}", json=settings)
    assert answer.status_code == 200, answer.text


def busiest(moments: Sequence[float], window_s: float) -> int:
    """Return the most that lie in any window."""
    return max(
        (sum(start <= at < start + window_s for at in moments) for start in moments), default=0
    )


LIMITS = Limits()
RUNS = (
    Run(
        "limits and a quota, one of 3 nodes killed",
        sequence(wait(2, 4), any_node(die, ""), wait(1, 2)),
        rounds=25,
        short=1,
        stores=("postgres",),
        nodes=NODES,
        settings=SHARED,
        pace=PACE,
        checks=(LIMITS.were_kept,),
        begin=Action("set limits", LIMITS.set),
        end=Action("lift them", LIMITS.lift),
    ),
)
