"""`-bp` and `mailq`: what waits in the relay."""

from collections.abc import Iterator
from typing import IO

from cli.sendmail.by_socket import Json, ask
from cli.sendmail.ending import EX_UNAVAILABLE, Ended
from cli.sendmail.settings import Settings

PAGE = 500


def show(settings: Settings, out: IO[bytes]) -> None:
    """Print a line for each message that is not final. Raises Ended."""
    if settings.server:
        text = "by SMTP the queue is not seen; ask: pillarbox NAME TENANT messages list --active"
        raise Ended(EX_UNAVAILABLE, text)
    is_empty = True
    for record in waiting(settings):
        is_empty = False
        out.write(line_of(record).encode("utf-8", "replace"))
    if is_empty:
        out.write(b"Mail queue is empty\n")
    out.flush()


def waiting(settings: Settings) -> Iterator[Json]:
    query: Json = {"active_only": "true", "limit": PAGE}
    while True:
        answer = ask(settings, "GET", "/messages", query)
        yield from answer["messages"]
        if not answer.get("next_cursor"):
            return
        query["cursor"] = answer["next_cursor"]


def line_of(record: Json) -> str:
    waits = [f"{r['address']} ({r['reply'] or r['status']})" for r in record["recipients"]]
    text = f"{record['pk']}  {record['status']:<10} {', '.join(waits)}"
    return "".join(char if char.isprintable() else " " for char in text) + "\n"
