"""Databases of genro-mail-proxy, made by it: see tests/data/genro/make.py."""

import sqlite3
import time
from pathlib import Path

import asyncpg

DATA = Path(__file__).parents[1] / "data" / "genro"
VERSIONS = ("0.6.10", "0.7.0")
ENGINES = ("sqlite", "postgres")
ENCRYPTION_KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
ACME_KEY = "acme-".ljust(43, "0")
FAR_OFF = "2000000000"
LATER_S = 86_400


def dump(version: str, engine: str) -> str:
    """Return a dump, in which what was put off is put off to tomorrow."""
    text = (DATA / f"{version}.{engine}.sql").read_text(encoding="utf-8")
    return text.replace(FAR_OFF, str(int(time.time()) + LATER_S))


def sqlite_file(path: Path, version: str) -> str:
    connection = sqlite3.connect(path)
    connection.executescript(dump(version, "sqlite"))
    connection.close()
    return str(path)


async def postgres_database(dsn: str, version: str) -> str:
    connection = await asyncpg.connect(dsn)
    await connection.execute(dump(version, "postgres"))
    await connection.close()
    return dsn
