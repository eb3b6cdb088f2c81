"""PostgreSQL in trouble: gone, slow, frozen, full of strangers, read-only. Of a server of the run's
own.
"""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from tests.faults.actions import Action, kill, sequence, start, wait
from tests.faults.house import House
from tests.faults.invariants import Violation
from tests.faults.probing import nothing_in_doubt, noticed, refuses_for_now
from tests.faults.run import Run

# What a program ends with that a supervisor is to start again (EX_UNAVAILABLE).
UNAVAILABLE = 69
FEW_CONNECTIONS = 30
# Of all sessions with this database but our own.
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

CROWD = "crowd"
END_NODES = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> $1
"""


def restart(how: str) -> Action:
    """Stop and start it as `pg_ctl restart -m` does: "fast" or "immediate"."""

    async def apply(house: House, _chance: random.Random) -> None:
        assert house.server
        await asyncio.to_thread(house.server.restart, how)

    return Action(f"restart {how}", apply)


def shut(how: str = "fast") -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        assert house.server
        await asyncio.to_thread(house.server.shut, how)

    return Action("server down", apply)


def launch() -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        assert house.server
        await asyncio.to_thread(house.server.launch)

    return Action("server up", apply)


def end_sessions() -> Action:
    """End every session that a node has."""

    async def apply(house: House, _chance: random.Random) -> None:
        await _said(house, END_OTHERS)

    return Action("sessions ended", apply)


def few_connections() -> Action:
    """Let the server take few connections from its next start on, and start it again."""

    async def apply(house: House, chance: random.Random) -> None:
        assert house.server
        house.server.max_connections = FEW_CONNECTIONS
        await restart("fast").apply(house, chance)

    return Action("few connections", apply)


def crowd(hold_s: float) -> Action:
    """Take every connection that there is, those of the nodes too, for a while."""

    async def apply(house: House, _chance: random.Random) -> None:
        others: list[asyncpg.Connection] = []
        ends_at = time.monotonic() + hold_s
        try:
            while time.monotonic() < ends_at:
                await _take_all(house, others)
                await others[0].execute(END_NODES, CROWD)
        finally:
            for other in others:
                other.terminate()

    return Action(f"connections taken for {hold_s:g} s", apply)


async def _take_all(house: House, others: list[asyncpg.Connection]) -> None:
    named = {"application_name": CROWD}
    try:
        while True:
            others.append(await asyncpg.connect(house.url, server_settings=named))
    except (asyncpg.PostgresError, OSError):
        await asyncio.sleep(0.02)


def read_only() -> Action:
    """Become what a standby is: new sessions only read, and the old ones end."""

    async def apply(house: House, _chance: random.Random) -> None:
        await _said(house, _only_reads(house, "on"), END_OTHERS)

    return Action("read-only", apply)


def writable() -> Action:
    async def apply(house: House, _chance: random.Random) -> None:
        writes = "SET default_transaction_read_only = off"
        await _said(house, writes, _only_reads(house, "off"), END_OTHERS)

    return Action("writable", apply)


def _only_reads(house: House, value: str) -> str:
    name = house.url.rpartition("/")[2]
    return f"ALTER DATABASE {name} SET default_transaction_read_only = {value}"


def lock(hold_s: float, *tables: str) -> Action:
    """Hold a lock that nobody passes, as a careless migration does."""

    async def apply(house: House, _chance: random.Random) -> None:
        connection = await asyncpg.connect(house.url)
        try:
            await _lock(connection, tables)
            await asyncio.sleep(hold_s)
        finally:
            connection.terminate()

    return Action(f"locked for {hold_s:g} s", apply)


async def _lock(connection: asyncpg.Connection, tables: Sequence[str]) -> None:
    while True:
        await connection.execute("BEGIN")
        try:
            for table in tables:
                await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        except asyncpg.DeadlockDetectedError:
            await connection.execute("ROLLBACK")
        else:
            return


def freeze(hold_s: float) -> Action:
    """Stop the server with all its processes as a machine that hangs, and let it go on."""

    async def apply(house: House, _chance: random.Random) -> None:
        assert house.server
        house.server.send_all(signal.SIGSTOP)
        try:
            await asyncio.sleep(hold_s)
        finally:
            house.server.send_all(signal.SIGCONT)

    return Action(f"frozen for {hold_s:g} s", apply)


def start_in_vain(node: int = 0) -> Action:
    """Start a node that finds no database: it says so, and ends for its supervisor."""

    async def apply(house: House, _chance: random.Random) -> None:
        serve = house.nodes[node]
        await serve.launch()
        code = await serve.ended()
        if code != UNAVAILABLE:
            house.found.append(Violation("I5", f"node {node}", f"without database: exit {code}"))

    return Action("start without database", apply)


async def _said(house: House, *statements: str) -> None:
    connection = await asyncpg.connect(house.url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        connection.terminate()


# A node's own patience with a statement, so that its clients hear of the trouble in time.
IMPATIENT = {"PILLARBOX_DATABASE_COMMAND_TIMEOUT_S": "2"}
# A session that begins hears it at AUTH (RFC 4954 §4.7.1), one that is open at MAIL.
NOT_NOW = refuses_for_now({451, 454}, {503})


def run(name: str, action: Action, rounds: int, short: int = 0, **more: Any) -> Run:
    """Describe a run on a server of its own."""
    return Run(name, action, rounds, short, stores=("postgres",), owns_postgres=True, **more)


RUNS = (
    run(
        "PostgreSQL restarts, fast",
        sequence(wait(0.5, 1.5), noticed(restart("fast"), unready=False)),
        rounds=30,
    ),
    run(
        "PostgreSQL restarts, immediate",
        sequence(wait(0.5, 1.5), noticed(restart("immediate"), unready=False)),
        rounds=30,
        short=1,
    ),
    run(
        "PostgreSQL ends all sessions",
        sequence(wait(0.2, 0.6), end_sessions()),
        rounds=100,
        short=3,
    ),
    run(
        "PostgreSQL is down",
        sequence(wait(0.5), shut(), noticed(wait(6)), launch()),
        rounds=5,
        checks=(NOT_NOW, nothing_in_doubt),
    ),
    run(
        "PostgreSQL has no connection left",
        noticed(crowd(8)),
        rounds=5,
        begin=few_connections(),
        checks=(NOT_NOW, nothing_in_doubt),
    ),
    run(
        "PostgreSQL only reads",
        sequence(wait(0.5), read_only(), noticed(wait(3)), writable()),
        rounds=5,
        short=1,
        checks=(NOT_NOW, nothing_in_doubt),
    ),
    run(
        "PostgreSQL waits for a lock",
        sequence(wait(0.5), noticed(lock(7, "messages", "recipients", "instance"))),
        rounds=3,
        short=1,
        settings=IMPATIENT,
        checks=(NOT_NOW, nothing_in_doubt),
    ),
    run(
        "PostgreSQL waits for a lock, patiently",
        sequence(wait(0.5), noticed(lock(30, "messages", "recipients", "instance"))),
        rounds=2,
        checks=(nothing_in_doubt,),
    ),
    run(
        "PostgreSQL is frozen",
        sequence(wait(0.5), noticed(freeze(7))),
        rounds=3,
        short=1,
        settings=IMPATIENT,
        checks=(NOT_NOW,),
    ),
    run(
        "PostgreSQL is frozen for a minute",
        sequence(wait(0.5), noticed(freeze(60))),
        rounds=1,
    ),
    run(
        "a node starts without PostgreSQL",
        sequence(kill(), shut(), start_in_vain(), launch(), start(), wait(0.5)),
        rounds=5,
        short=1,
    ),
    run(
        "a node starts on a PostgreSQL that only reads",
        sequence(kill(), read_only(), start_in_vain(), writable(), start(), wait(0.5)),
        rounds=5,
    ),
)
