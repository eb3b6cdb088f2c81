"""Who did what through the API: never what was in a request, and no secret.

A line is kept in memory and written with the others of its second, so that a call does not wait for
a second commit. A node that is killed may lose that second; one that is stopped loses nothing.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import StoreUnavailable
from relay.model import new_pk
from relay.store.database import Database, Each, Query, Row, Script

# While the database does not answer, the oldest lines beyond this are lost.
MOST_KEPT = 10_000

INSERT = """
INSERT INTO command_log (pk, at, caller, tenant_id, method, route, target, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
PAGE = """
SELECT pk, at, caller, tenant_id, method, route, target, status FROM command_log
WHERE pk > $1 AND (CAST($2 AS TEXT) IS NULL OR tenant_id = $2)
    AND (CAST($3 AS TEXT) IS NULL OR caller = $3) AND (CAST($4 AS TEXT) IS NULL OR method = $4)
    AND (CAST($5 AS TEXT) IS NULL OR route = $5)
    AND (CAST($6 AS DOUBLE PRECISION) IS NULL OR at >= $6)
    AND (CAST($7 AS DOUBLE PRECISION) IS NULL OR at < $7)
ORDER BY pk LIMIT $8
"""
FORGET = "DELETE FROM command_log WHERE pk < $1"
PURGE = "DELETE FROM command_log WHERE pk < $1 RETURNING pk"


@dataclass(frozen=True, slots=True)
class Command:
    """One call. `caller` is "admin" or "tenant"; `route` has its parameters in braces, `target` is
    what stood in their place; `tenant_id` is whom it was about, as far as that is known.
    """

    at: float
    caller: str
    tenant_id: str | None
    method: str
    route: str
    target: str | None
    status: int
    pk: str = ""


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which commands; None is any. Times are Unix seconds."""

    tenant_id: str | None = None
    caller: str | None = None
    method: str | None = None
    route: str | None = None
    since: float | None = None
    until: float | None = None


class CommandLog:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: deque[Command] = deque(maxlen=MOST_KEPT)

    def note(self, command: Command) -> None:
        """Keep a line until it is written; never waits."""
        self._kept.append(command)

    async def flush(self) -> None:
        """Write what is kept."""
        commands = list(self._kept)
        if not commands:
            return
        self._kept.clear()
        try:
            await self._database.write(lambda: insert(commands))
        except StoreUnavailable:
            self._kept.extendleft(reversed(commands))
            raise

    async def purge(self, before: float) -> int:
        """Forget what was done before a time (Unix seconds); return how many that were."""
        # A pk has room for real times only.
        first_kept = new_pk(min(before, self._database.now()))

        def script() -> Script[int]:
            return len((yield Query(PURGE, (first_kept,))))

        return await self._database.write(script)

    async def page(self, wanted: CommandFilter, after: str, limit: int) -> list[Command]:
        """Return up to `limit` commands in order of time, those past `after`."""
        values = (
            wanted.tenant_id,
            wanted.caller,
            wanted.method,
            wanted.route,
            wanted.since,
            wanted.until,
        )
        return [command(row) for row in await self._database.fetch(PAGE, after, *values, limit)]


def insert(commands: Sequence[Command]) -> Script[None]:
    yield Each(
        INSERT,
        [
            (new_pk(c.at), c.at, c.caller, c.tenant_id, c.method, c.route, c.target, c.status)
            for c in commands
        ],
    )


def command(row: Row) -> Command:
    return Command(
        row["at"],
        row["caller"],
        row["tenant_id"],
        row["method"],
        row["route"],
        row["target"],
        row["status"],
        row["pk"],
    )


def forget(before: float) -> Script[None]:
    yield Query(FORGET, (new_pk(before),))
