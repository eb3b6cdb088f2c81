"""`pillarbox NAME info`, `stats`, `run-now`."""

import re
from collections import Counter

import click

from cli.client import Api, Json
from cli.failure import Failure
from cli.options import as_json
from cli.output import clock, print_facts, print_json, print_table, span
from cli.place import Place
from cli.reach import reach
from cli.tenant_facts import run_now

__all__ = ["info", "run_now", "stats"]

COUNTED = {
    "pillarbox_messages_accepted_total": "accepted",
    "pillarbox_recipients_sent_total": "sent",
    "pillarbox_recipients_deferred_total": "deferred",
    "pillarbox_recipients_failed_total": "failed",
    "pillarbox_recipients_bounced_total": "bounced",
}
SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
TENANT = re.compile(r'\btenant="([^"]*)"')
OLDEST = re.compile(r"^pillarbox_queue_oldest_seconds ([0-9.e+]+)$", re.MULTILINE)


@click.command(short_help="Show what this instance is and how it is.")
@as_json
@click.pass_obj
def info(place: Place, as_json: bool) -> None:
    """Show what this instance is, where it listens and what waits in it."""
    is_running = bool(place.instance.live_sockets())
    with reach(place) as api:
        found = described(api, place, is_running=is_running)
    if as_json:
        print_json(found)
    else:
        print_facts(facts(found))


def status_of(api: Api) -> Json:
    """Return how a node is. Raises Failure where one runs that is older than this command."""
    status = api.get("/status")
    if "facts" not in status:
        version = status.get("version")
        raise Failure(f"the node that runs is of another version ({version}): restart it")
    return status


def described(api: Api, place: Place, *, is_running: bool) -> Json:
    status = status_of(api)
    return {
        "name": place.name,
        "state": "running" if is_running else "stopped",
        "folder": str(place.instance.folder),
        **{key: status[key] for key in ("version", "node", "active", "queue")},
        **status["facts"],
        "accounts_in_trouble": status["accounts_in_trouble"],
        "tenants": len(api.get("/tenants")["tenants"]),
    }


def facts(found: Json) -> list[tuple[str, object]]:
    queue = ", ".join(f"{count} {state}" for state, count in found["queue"].items() if count)
    return [
        ("instance", found["name"]),
        ("state", found["state"]),
        ("takes mail", "" if found["active"] else "no: it is being drained"),
        ("folder", found["folder"]),
        ("version", found["version"]),
        ("node", found["node"]),
        ("database", found["database"]),
        *((each["service"], each["address"]) for each in found["listening"]),
        ("tenants", found["tenants"]),
        ("recipients", queue or "none"),
        *(("in trouble", trouble(each)) for each in found["accounts_in_trouble"]),
    ]


def trouble(each: Json) -> str:
    account = f"{each['tenant_id']}/{each['account_id']}"
    return f"{account} rests until {clock(each['until'])}: {each['reason']}"


@click.command(short_help="Show what was taken, sent and failed.")
@as_json
@click.pass_obj
def stats(place: Place, as_json: bool) -> None:
    """Show what waits, and what each tenant gave and got since this node started."""
    with reach(place) as api:
        text = api.text("/metrics")
        queue = api.get("/status")["queue"]
    counts, oldest_s = counted(text), oldest(text)
    if as_json:
        print_json({"queue": queue, "oldest_seconds": oldest_s, "tenants": counts})
        return
    waits = ", ".join(f"{count} {state}" for state, count in queue.items() if count)
    print_facts([("recipients", waits or "none"), ("oldest due", span(oldest_s))])
    names = list(COUNTED.values())
    rows = [(tenant_id, *(each.get(n, 0) for n in names)) for tenant_id, each in counts.items()]
    if rows:
        print_table(("since the start", *names), rows)


def counted(metrics: str) -> dict[str, dict[str, int]]:
    """Add the counters up by tenant."""
    tenants: dict[str, Counter[str]] = {}
    for name, labels, value in SAMPLE.findall(metrics):
        tenant = TENANT.search(labels)
        if name in COUNTED and tenant:
            tenants.setdefault(tenant[1], Counter())[COUNTED[name]] += int(float(value))
    return {tenant_id: dict(counts) for tenant_id, counts in sorted(tenants.items())}


def oldest(metrics: str) -> float:
    found = OLDEST.search(metrics)
    return float(found[1]) if found else 0.0
