"""`pillarbox NAME check`: what is as it should be, and what is to be done."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import click

from cli.callbacks import trouble_with
from cli.client import Api, Json, segment
from cli.failure import Failure
from cli.findings import NOTE, OK, TO_DO, Finding, on_machine
from cli.instance_facts import status_of
from cli.loading import read
from cli.options import as_json
from cli.output import clock, from_now, print_json, print_table
from cli.place import Place
from cli.reach import reach
from relay.errors import ConfigError, RelayError

AT_ONCE = 8
MOST_DRIFT_S = 2.0
LONG_AGO_S = 3600.0


@click.command(short_help="Look for what is wrong, and say what to do.")
@as_json
@click.pass_obj
def check(place: Place, as_json: bool) -> None:
    """Check settings, files, disk, database, clocks, certificate, each account's login and each
    callback's server. No mail is sent. Exit 1 where something is to be done.
    """
    found = list(findings(place))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_table(("what", "", "seen"), [(each.what, each.verdict, each.text) for each in found])
    if any(each.verdict == TO_DO for each in found):
        raise SystemExit(1)


def findings(place: Place) -> Iterator[Finding]:
    try:
        yield from on_machine(read(place.home, place.name, {}))
    except ConfigError as error:
        yield from (Finding("settings", TO_DO, line) for line in str(error).splitlines())
        return
    try:
        with reach(place) as api:
            yield from of_node(place, api)
            tenants = [t for t in api.get("/tenants")["tenants"] if t["active"]]
            yield from of_accounts(api, tenants)
            yield from of_callbacks(api, tenants)
    except (Failure, RelayError) as error:
        text = error.message if isinstance(error, Failure) else str(error)
        yield Finding("database", TO_DO, text)


def of_node(place: Place, api: Api) -> Iterator[Finding]:
    if place.instance.live_sockets():
        yield Finding("process", OK, "it runs")
    else:
        yield Finding("process", NOTE, f"it does not run: pillarbox start {place.name}")
    status = status_of(api)
    engine = status["facts"]["database"]
    try:
        api.get("/ready")
        yield Finding("database", OK, f"{engine}: written to, and synced before each answer")
    except Failure as failure:
        yield Finding("database", TO_DO, failure.message)
    yield clocks(status["facts"]["now"] - time.time())
    for each in status["accounts_in_trouble"]:
        account = f"{each['tenant_id']}/{each['account_id']}"
        yield Finding(account, NOTE, f"rests until {clock(each['until'])}: {each['reason']}")


def clocks(ahead_s: float) -> Finding:
    if abs(ahead_s) < MOST_DRIFT_S:
        return Finding("clocks", OK, "this machine's and the database's agree")
    side = "ahead" if ahead_s > 0 else "behind"
    text = f"the database's is {abs(ahead_s):.0f} s {side} of this machine's: run NTP on both"
    return Finding("clocks", TO_DO, text)


def of_accounts(api: Api, tenants: Sequence[Json]) -> Iterator[Finding]:
    """Log in at each upstream server, several at once."""
    accounts = [
        account
        for tenant in tenants
        for account in api.get("/accounts", tenant_id=tenant["id"])["accounts"]
    ]
    yield from at_once(lambda account: login(api, account), accounts)
    without = {t["id"] for t in tenants} - {account["tenant_id"] for account in accounts}
    for tenant_id in sorted(without):
        yield Finding(tenant_id, NOTE, "it has no account: its mail cannot leave")


def login(api: Api, account: Json) -> Finding:
    what = f"account {account['tenant_id']}/{account['id']}"
    if account["kind"] == "capture":
        return Finding(what, NOTE, "delivers nowhere: it keeps the mail for looking at")
    path = f"/account/{segment(account['id'])}/verify"
    try:
        result = api.post(path, tenant_id=account["tenant_id"])
    except Failure as failure:
        return Finding(what, TO_DO, failure.message)
    server = f"{account['host']}:{account['port']}"
    if result["ok"]:
        return Finding(what, OK, f"{server} lets us in")
    why = "; ".join(f"{s['step']}: {s['detail']}" for s in result["steps"] if s["ok"] is False)
    return Finding(what, TO_DO, f"{server}: {why}")


def of_callbacks(api: Api, tenants: Sequence[Json]) -> Iterator[Finding]:
    called = [t for t in tenants if t["client_base_url"]]
    yield from at_once(callback, called)
    now = time.time()
    for sync in api.get("/tenants/sync-status")["tenants"]:
        last = sync["last_sync_ts"]
        if sync["active"] and sync["next_sync_due"] and last and now - last > LONG_AGO_S:
            text = f"it took no report since {from_now(last)}: look at its log"
            yield Finding(f"callback {sync['id']}", TO_DO, text)


def callback(tenant: Json) -> Finding:
    what, url = f"callback {tenant['id']}", tenant["client_base_url"]
    trouble = trouble_with(url)
    if trouble is None:
        return Finding(what, OK, f"{url} can be reached")
    return Finding(what, TO_DO, f"{url} cannot be reached from here: {trouble}")


def at_once(look: Callable[[Json], Finding], items: Iterable[Json]) -> list[Finding]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, items))
