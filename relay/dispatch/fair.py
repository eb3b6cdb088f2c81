"""Who goes next when not all can go: tenants in turn, by weight. Pure.

Stride scheduling: each tenant has a pass that grows by 1/weight with each mail; the lowest pass
goes next. A tenant that comes back starts at the lowest pass of those present, so it gains nothing
by having been away.
"""

from collections.abc import Iterable


class Turns:
    def __init__(self) -> None:
        self._passes: dict[str, float] = {}

    def next(self, waiting: Iterable[tuple[str, int]]) -> str | None:
        """Return whose turn it is among `waiting` (tenant, weight), and count it."""
        weights = dict(waiting)
        if not weights:
            return None
        self._passes = {t: p for t, p in self._passes.items() if t in weights}
        lowest = min(self._passes.values(), default=0.0)
        for tenant_id in weights:
            self._passes.setdefault(tenant_id, lowest)
        chosen = min(weights, key=lambda t: (self._passes[t], t))
        self._passes[chosen] += 1 / max(weights[chosen], 1)
        return chosen
