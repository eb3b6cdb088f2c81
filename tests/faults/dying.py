"""`pillarbox serve` that dies by kill -9, or freezes, at a named point, without a hook in what is
tried.

Run as `command(point, nth)`. A point is a statement of SQL, inside its transaction or right after
the COMMIT, or a function, before or after a call of it; the process dies when it is there for the
`nth` time. It says so on standard error, so that a test can tell this death from another.
"""

import asyncio
import importlib
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from relay.store import (
    attachments,
    bounces,
    command_log,
    instance,
    mailboxes,
    migrate,
    outbox,
    postgres,
    rekey,
    retention,
    sqlite,
)
from relay.store.database import Step, Together
from relay.store.queue import claim, insert, settle

ROOT = str(Path(__file__).parents[2])
START = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.faults.dying import main; main()"


@dataclass(frozen=True, slots=True)
class AtStatement:
    """Right after this statement; where `committed`, right after the COMMIT of its transaction."""

    sql: str
    committed: bool = False


@dataclass(frozen=True, slots=True)
class AtCall:
    """Before the call of a function ("module:Class.method"), or `after` it returned."""

    target: str
    after: bool = False


@dataclass(frozen=True, slots=True)
class InMigration:
    """After the first statement of a migration, before what follows it; the one after `version`."""

    version: int


Point = AtStatement | AtCall | InMigration

POINTS: dict[str, Point] = {
    "stored, before commit": AtStatement(insert.INSERT_MESSAGE),
    "committed, before the reply": AtStatement(insert.INSERT_MESSAGE, committed=True),
    "claimed, before commit": AtStatement(claim.CLAIM),
    "claimed": AtStatement(claim.CLAIM, committed=True),
    "envelope said": AtCall("relay.dispatch.deliver:Begin.__call__"),
    "begun": AtStatement(claim.BEGIN, committed=True),
    "begun, before DATA": AtCall("relay.dispatch.deliver:Begin.__call__", after=True),
    "354 read, before the content": AtCall("relay.dispatch.session:Session._write_at_once"),
    "dot written": AtCall("relay.dispatch.session:Session._write_at_once", after=True),
    "reply read, before settling": AtCall("relay.dispatch.results:Results.attempted"),
    "settled, before commit": AtStatement(settle.SETTLE),
    "settled": AtStatement(settle.SETTLE, committed=True),
    "report taken": AtStatement(outbox.OWN, committed=True),
    "before a callback": AtCall("relay.reports.post:Caller.post"),
    "callback answered": AtCall("relay.reports.post:Caller.post", after=True),
    "callback recorded, before commit": AtStatement(outbox.DONE),
    "callback recorded": AtStatement(outbox.DONE, committed=True),
    "bounce written, before commit": AtStatement(bounces.BOUNCE),
    "bounce written": AtStatement(bounces.BOUNCE, committed=True),
    "bounce marked, before that is noted": AtStatement(mailboxes.MARKED),
    "file fetched": AtCall("relay.attachments.fetch:Fetcher.fetch", after=True),
    "files put in": AtCall("relay.attachments.prepare:Preparer._assembled", after=True),
    "mail completed, before commit": AtStatement(attachments.COMPLETE),
    "mail completed": AtStatement(attachments.COMPLETE, committed=True),
    "command logged, before commit": AtStatement(command_log.INSERT),
    "messages forgotten, before commit": AtStatement(retention.DROP_EVENTS),
    "account sealed anew, before commit": AtStatement(rekey.TABLES[1].update),
    "accounts sealed anew": AtStatement(rekey.TABLES[1].update, committed=True),
    "key check written, before commit": AtStatement(instance.RENEW),
    **{
        f"migration past {each.version}": InMigration(each.version)
        for each in migrate.migrations("postgres")[:-1]
    },
}


def command(point: str, nth: int = 1, end: signal.Signals = signal.SIGKILL) -> Sequence[str]:
    """Return what to run: `serve`, to die at the point, or to freeze there (SIGSTOP)."""
    return (sys.executable, "-c", START, point, str(nth), end.name, "serve")


def farewell(point: str) -> str:
    """Return what is said at the point."""
    return f"died on purpose: {point}"


class Death:
    """Comes at the n-th call, whatever thread that is in."""

    def __init__(self, point: str, nth: int, end: signal.Signals) -> None:
        self._point = point
        self._left = nth
        self._end = end

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.write(2, f"{farewell(self._point)}\n".encode())
            os.kill(os.getpid(), self._end)


def arm(point: Point, death: Death) -> None:
    match point:
        case AtCall():
            arm_call(point, death)
        case AtStatement(sql, committed):
            arm_statement(lambda text: text == sql, death, committed=committed)
        case InMigration(version):
            engines = [migrate.migrations(engine) for engine in ("sqlite", "postgres")]
            firsts = {next(m for m in e if m.version > version).statements[0] for e in engines}
            arm_statement(firsts.__contains__, death, committed=False)


def arm_call(point: AtCall, death: Death) -> None:
    module_name, _, path = point.target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, dying(getattr(owner, name), death, after=point.after))


def dying(function: Callable[..., Any], death: Death, *, after: bool) -> Callable[..., Any]:
    """Return the function (plain or a coroutine's) with death before or after it."""

    @wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if not after:
            death()
        result = function(*args, **kwargs)
        if after:
            death()
        return result

    @wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        if not after:
            death()
        result = await function(*args, **kwargs)
        if after:
            death()
        return result

    return coroutine if asyncio.iscoroutinefunction(function) else plain


def arm_statement(is_it: Callable[[str], bool], death: Death, *, committed: bool) -> None:
    """Watch what both engines execute. What a transaction met is known in its own context."""
    met: ContextVar[list[bool]] = ContextVar("met")

    def meet() -> None:
        if not committed:
            death()
        elif found := met.get(None):
            found[0] = True

    def begin() -> list[bool]:
        found = [False]
        met.set(found)
        return found

    arm_sqlite(is_it, meet, begin, death)
    arm_postgres(is_it, meet, begin, death)


Meet = Callable[[], None]
Begin = Callable[[], list[bool]]


def texts_of(step: Step) -> list[str]:
    return [part.sql for part in step.parts] if isinstance(step, Together) else [step.sql]


def arm_sqlite(is_it: Callable[[str], bool], meet: Meet, begin: Begin, death: Death) -> None:
    execute, transaction = sqlite.execute, sqlite.transaction

    def watched(connection: sqlite3.Connection, step: Step) -> Any:
        rows = execute(connection, step)
        if any(map(is_it, texts_of(step))):
            meet()
        return rows

    def watched_transaction(connection: sqlite3.Connection, scripts: Any, turn: sqlite.Turn) -> Any:
        found = begin()
        results = transaction(connection, scripts, turn)
        if found[0]:
            death()
        return results

    sqlite.execute, sqlite.transaction = watched, watched_transaction


def arm_postgres(is_it: Callable[[str], bool], meet: Meet, begin: Begin, death: Death) -> None:
    execute, write_all = postgres.execute, postgres.PostgresDatabase.write_all

    async def watched(connection: Any, step: Step) -> Any:
        rows = await execute(connection, step)
        if any(map(is_it, texts_of(step))):
            meet()
        return rows

    async def watched_write(self: postgres.PostgresDatabase, scripts: Any) -> list[Any]:
        found = begin()
        results = await write_all(self, scripts)
        if found[0]:
            death()
        return results

    postgres.execute = watched
    postgres.PostgresDatabase.write_all = watched_write  # type: ignore[method-assign] # the point of it


def main() -> None:
    from cli.main import main as pillarbox

    point, nth, end = sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]]
    arm(POINTS[point], Death(point, nth, end))
    sys.argv[1:] = sys.argv[4:]
    pillarbox()
