"""What attackers and misfits cost the SMTP door, and whether others are served meanwhile.

    python -m bench.door [--only "endless mail"] [--folder /var/tmp]

Pillarbox runs with its defaults; attackers come from one address, by a load balancer. Beside each
attack a neighbour sends one mail after the other. The memory's peak is the process's largest
resident set (VmHWM), reset before each attack. The loop's lag is measured inside the process: how
long whoever comes at any millisecond has to wait for a turn.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.command import Bench, scratch_folder
from bench.figures import percentile_ms
from bench.load import Load, send
from bench.pillarbox import TENANT, Login, Pillarbox, Upstream
from bench.relays import running, sink_of, store, watched
from bench.results import Finding, Head, Row
from bench.watched import lags_s
from tests.fakes.attackers import (
    BALANCER_IP,
    Attack,
    Toll,
    Victim,
    endless_command,
    endless_line,
    guesses,
    idle_connections,
    line_ends,
    many_recipients,
    slow_clients,
)
from tests.fakes.neighbour import Neighbour
from tests.vitals import forget_peak, peak_bytes, resident_bytes

BIG_MAILS, BIG_BYTES = 10, 25_000_000
FLOOD_SESSIONS, FLOOD_MAILS = 50, 2000
SETTLE_S = 1.0
QUICK = {
    "PILLARBOX_SMTP_IDLE_TIMEOUT_S": "10",
    "PILLARBOX_SMTP_SESSION_TIMEOUT_S": "20",
    "PILLARBOX_SMTP_MIN_RATE_GRACE_S": "10",
}
HEAD = Head(
    (
        "attack",
        "connections",
        "MB sent",
        "seconds",
        "memory MB",
        "peak MB",
        "lag p50 ms",
        "lag p99 ms",
        "lag max ms",
        "neighbour's mails",
        "slowest ms",
        "last words",
    )
)


@dataclass(frozen=True, slots=True)
class Siege:
    """An attack as it is named, and what the process must be told so that it ends in time."""

    name: str
    attack: Attack
    settings: tuple[tuple[str, str], ...] = ()


async def nothing(_victim: Victim) -> Toll:
    """Attack with nothing, for comparison."""
    await asyncio.sleep(3)
    return Toll()


async def big_mails(victim: Victim) -> Toll:
    login = Login(victim.user, victim.password)
    load = Load(victim.port, BIG_MAILS, BIG_BYTES, keeps=False, login=login, sessions=BIG_MAILS)
    await send(load)
    return Toll(BIG_MAILS, BIG_MAILS * BIG_BYTES)


async def flood(victim: Victim) -> Toll:
    """Send with Postfix's smtp-source, which has no login."""
    command = ["smtp-source", "-A", "-d", "-s", str(FLOOD_SESSIONS), "-m", str(FLOOD_MAILS)]
    command += ["-l", "4096", "-f", "a@b.test", "-t", "x@there.test", f"127.0.0.1:{victim.port}"]
    ended = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await ended.wait()
    return Toll(FLOOD_SESSIONS)


SIEGES = (
    Siege("nothing", nothing),
    Siege("ten 25 MB mails", big_mails),
    Siege("smtp-source, no login", flood),
    Siege("300 idle", idle_connections),
    Siege("slow clients", slow_clients, tuple(QUICK.items())),
    Siege("endless command", endless_command),
    Siege("endless mail", endless_line),
    Siege("31 MiB of CRLF", line_ends),
    Siege("31 MiB of CRLF, taken", line_ends, (("PILLARBOX_MAX_MESSAGE_BYTES", "33554432"),)),
    Siege("20 000 RCPT", many_recipients),
    Siege("guessed passwords", guesses),
)


def measured(siege: Siege, folder: Path) -> Row:
    """Start a Pillarbox, lay siege to it, and return the row."""
    lags = folder / "lags"
    own = {"PILLARBOX_SMTP_PROXY_NETWORKS": f"{BALANCER_IP}/32", **dict(siege.settings)}
    with (
        sink_of(None) as sink,
        store(folder, "sqlite") as (settings, _),
        running(folder, {**settings, **own}, watched(lags)) as process,
    ):
        login = process.add_tenant(TENANT, Upstream(sink.port))
        return uvloop.run(lay(siege, process, login, lags))


async def lay(siege: Siege, process: Pillarbox, login: Login, lags: Path) -> Row:
    victim = Victim(process.smtp_port, login.user, login.password)
    async with Neighbour(victim):
        await asyncio.sleep(SETTLE_S)
    before = resident_bytes(process.pid)
    forget_peak(process.pid)
    began_at = time.monotonic()
    async with Neighbour(victim) as neighbour:
        toll = await siege.attack(victim)
    ended_at = time.monotonic()
    peak = peak_bytes(process.pid)
    waits = lags_s(lags, began_at, ended_at)
    served = f"{len(neighbour.waits_s)}"
    if neighbour.refusals:
        served += f" ({len(neighbour.refusals)} refused)"
    words = "; ".join(f"{count} x {end[:40]}" for end, count in toll.ends.most_common(3))
    return Row(
        (
            siege.name,
            f"{toll.connections}",
            [toll.sent_bytes / 1e6],
            [ended_at - began_at],
            [before / 1e6],
            [peak / 1e6],
            *([percentile_ms(waits, share)] for share in (0.5, 0.99, 1.0)),
            served,
            [max(neighbour.waits_s, default=0) * 1000],
            words or "-",
        )
    )


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    yield HEAD
    with scratch_folder(options) as folder:
        for siege in SIEGES:
            if options.only in (None, siege.name):
                yield measured(siege, Path(tempfile.mkdtemp(dir=folder)))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=[siege.name for siege in SIEGES], help="this attack")


BENCH = Bench("door", __doc__, add_options, measure)

if __name__ == "__main__":
    BENCH.main()
