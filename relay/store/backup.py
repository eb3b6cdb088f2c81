"""A copy of the embedded database while it is in use.

Promises: the copy is the database as it was at one moment, complete, synced and checked; mail goes
on meanwhile. It is read by a second connection that never writes nor checkpoints, so SQLite's
WAL-reset bug, which takes two that do, is no matter here.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from relay.errors import StoreFull, StoreUnavailable

FULL_DISK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})


def copy_database(source: Path, target: Path) -> None:
    """Copy the file's content to a new file (0600); slow, call it in a thread.

    Raises StoreFull, or StoreUnavailable when the copy failed or is not sound.
    """
    target.touch(mode=0o600, exist_ok=False)
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as reader,
            closing(sqlite3.connect(target)) as writer,
        ):
            # In one step: the reader's snapshot is held until the last page.
            reader.backup(writer, pages=-1)
            # One file is a whole database: no -wal beside it to be forgotten.
            writer.execute("PRAGMA journal_mode=DELETE")
            verdict = writer.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) in FULL_DISK:
            raise StoreFull("no space left for a copy of the database") from error
        raise StoreUnavailable(f"the database cannot be copied: {error}") from error
    if verdict != "ok":
        raise StoreUnavailable(f"the copy of the database is not sound: {verdict}")
