"""A message's story, as a person reads it: each line a time, what happened, and in whose words."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cli.client import Json
from cli.output import clock, from_now, plain, print_facts, print_table, say, span


class Line(NamedTuple):
    at: float
    what: str
    who: str
    words: str


def print_message(record: Json) -> None:
    print_facts(head(record, time.time()))
    say("")
    rows = [(clock(line.at), line.what, line.who, line.words) for line in story(record)]
    print_table(("when", "what", "recipient", "in words"), rows)
    say("")
    print_table(
        ("recipient", "status", "attempts", "by", "next attempt", "last answer"),
        [standing(recipient, time.time()) for recipient in record["recipients"]],
    )
    print_below(
        ("file", "bytes", "from", "what became of it", "link"), attached, record["attachments"]
    )
    print_below(("receipt", "certified", "by", "of", "error"), receipt, record["receipts"])


def print_below(
    columns: tuple[str, ...], row: Callable[[Json], tuple[object, ...]], given: list[Json]
) -> None:
    """Print a table of what only some messages have."""
    if given:
        say("")
        print_table(columns, [row(each) for each in given])


def attached(file: Json) -> tuple[object, ...]:
    """Say where a file came from and where it is."""
    cached = {"hit": ", from the cache", "miss": "", None: ""}[file["cache"]]
    became = f"{file['status']}{cached}"
    return file["filename"], file["size_bytes"], file["fetch_mode"], became, file["link"]


def receipt(given: Json) -> tuple[object, ...]:
    """Say what a receipt of certified mail certifies."""
    whom = ", ".join(given["recipients"]) or "all"
    return given["receipt_type"], clock(given["ts"]), given["provider"], whom, given["error"]


def head(record: Json, now: float) -> list[tuple[str, object]]:
    message = record["message"]
    return [
        ("subject", message.get("subject")),
        ("status", record["status"]),
        ("id", record["id"]),
        ("pk", record["pk"]),
        ("from", message.get("from")),
        ("account", record["account_id"] or "routed by the sender's domain"),
        ("priority", ("immediate", "high", "medium", "low")[record["priority"]]),
        ("batch", record["batch_code"]),
        ("accepted", f"{clock(record['created_at'])}, {from_now(record['created_at'], now)}"),
        ("waits for", record.get("waiting_for")),
        ("next attempt", upcoming(record["deferred_ts"], now)),
        ("reported", reported(record)),
    ]


def upcoming(at: float | None, now: float) -> str:
    return f"{from_now(at, now)}, at {clock(at)}" if at else ""


def reported(record: Json) -> str:
    at = record["reported_ts"]
    return f"{clock(at)}: the callback took all of it" if at else "not yet, or nobody is called"


def story(record: Json) -> Iterator[Line]:
    """Tell the events in order; each attempt is one, for each of its recipients."""
    lengths_s = {
        each["ended_at"]: each["ended_at"] - each["started_at"] for each in record["attempts"]
    }
    for event in record["events"]:
        who = str(event["data"].get("recipient") or "")
        yield Line(event["ts"], event["event"], who, words(event, lengths_s.get(event["ts"])))


def words(event: Json, length_s: float | None) -> str:
    """Return the upstream's words, with what is worth knowing beside them."""
    data = event["data"]
    said = (data.get(name) for name in ("reply", "bounce_reason", "details", "reason"))
    parts = [plain(next((text for text in said if text), ""))]
    if data.get("repairs"):
        parts.append(f"put right: {', '.join(data['repairs'])}")
    if data.get("ingress"):
        parts.append(f"by {str(data['ingress']).upper()}")
    if data.get("account_id"):
        parts.append(f"by {data['account_id']}" + (f" in {span(length_s)}" if length_s else ""))
    if data.get("possible_duplicate"):
        parts.append("may have arrived twice")
    if data.get("next_attempt_ts"):
        parts.append(f"again after {span(data['next_attempt_ts'] - event['ts'])}")
    return "; ".join(part for part in parts if part)


def standing(recipient: Json, now: float) -> tuple[object, ...]:
    return (
        recipient["address"],
        recipient["status"],
        recipient["attempts"],
        recipient["account_id"],
        from_now(recipient["next_attempt_ts"], now),
        recipient["reply"],
    )
