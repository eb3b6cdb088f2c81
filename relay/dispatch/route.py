"""Which account carries a mail. Pure.

A lane names its account, or the sender's domain; a routed lane's accounts are those that list the
domain, else those that list none. Lowest rank first, by weight inside a rank; one that cannot take
mail now is passed over.
"""

from collections.abc import Sequence

from relay.model import Account


def split_lane(lane: str) -> tuple[str, str | None, str | None]:
    """Return (tenant, account id or None, sender domain or None). Sources:
    `relay.model.lane_of`.
    """
    tenant_id, _, rest = lane.partition("/")
    return (tenant_id, None, rest[1:]) if rest.startswith("@") else (tenant_id, rest[1:], None)


def candidates(lane: str, accounts: Sequence[Account]) -> list[Account]:
    """Return the accounts that may carry mail of this lane, by rank."""
    _, account_id, domain = split_lane(lane)
    if account_id is not None:
        return [a for a in accounts if a.id == account_id]
    named = [a for a in accounts if domain in a.sender_domains]
    return sorted(
        named or [a for a in accounts if not a.sender_domains], key=lambda a: (a.rank, a.id)
    )


def choose(able: Sequence[Account], draw: float) -> Account | None:
    """Pick one of the accounts of the lowest rank; `draw` is in [0, 1)."""
    if not able:
        return None
    lowest = min(a.rank for a in able)
    best = [a for a in able if a.rank == lowest]
    mark = draw * sum(max(a.weight, 0) for a in best)
    for account in best:
        mark -= max(account.weight, 0)
        if mark < 0:
            return account
    return best[-1]
