"""The machine that figures were taken on: what it is, what it runs, how long its disk takes."""

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import percentile_ms
from tests.conftest import postgres_programs

SYNCS = 200
BLOCK = b"x" * 4096
GB = 1 << 30


def facts(folder: Path) -> dict[str, str]:
    """Describe this machine; `folder` is on the disk that is measured on."""
    return {
        "CPU": f"{os.cpu_count()} x {cpu_model()}",
        "memory": f"{memory_gb():.0f} GB",
        "disk": f"{file_system(folder)}; {sync_text(folder)}",
        "system": f"{os_name()}, Linux {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": postgres_version(),
        "Postfix": said_by("postconf", "-dh", "mail_version"),
        "busy before": f"{os.getloadavg()[0]:.1f} processes (load of the last minute)",
    }


def cpu_model() -> str:
    fields = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return next((v.strip() for name, _, v in fields if name.strip() == "model name"), "unknown")


def memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB


def os_name() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")


def postgres_version() -> str:
    programs = postgres_programs()
    return said_by(str(programs / "postgres"), "--version").split()[-1] if programs else "none"


def said_by(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return "none"
    return done.stdout.strip()


def file_system(folder: Path) -> str:
    return said_by("df", "--output=fstype", str(folder)).split()[-1]


def sync_text(folder: Path) -> str:
    waits_s = list(syncs(folder))
    middle = statistics.median(waits_s) * 1000
    return f"4 KB appended and synced in {middle:.2f} ms (p99 {percentile_ms(waits_s, 0.99):.2f})"


def syncs(folder: Path) -> Iterator[float]:
    """Yield how long (s) each of some small writes took to be on the disk."""
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(SYNCS):
            began_at = time.perf_counter()
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            yield time.perf_counter() - began_at
