"""`pillarbox NAME TENANT accounts`: the upstream servers that mail leaves by."""

import os
from pathlib import Path
from typing import Any

import click

from cli.asking import asked_argument, confirm, on_terminal, secret, secret_options
from cli.client import Api, Json, segment
from cli.failure import Failure
from cli.menu import did_you_mean
from cli.names import complete_account
from cli.options import as_json, yes
from cli.output import clock, note, print_facts, print_json, print_table, yes_no
from cli.place import Place
from cli.reach import reach

SUBMISSION_PORT = 587  # RFC 6409


@click.group(short_help="The servers that mail leaves by.")
def accounts() -> None:
    """Accounts: the upstream servers that mail leaves by."""


@accounts.command("list")
@as_json
@click.pass_obj
def list_accounts(place: Place, as_json: bool) -> None:
    """List the accounts."""
    with reach(place) as api:
        found = stored(api, place)
    if as_json:
        print_json(found)
        return
    rows = [
        (a["id"], server(a), a["tls"], a["user"], limits(a), ", ".join(a["sender_domains"]))
        for a in found
    ]
    print_table(("id", "server", "tls", "user", "limits", "for senders of"), rows)


@accounts.command("show")
@asked_argument("account_id", "ACCOUNT", "Account", complete_account)
@as_json
@click.pass_obj
def show_account(place: Place, account_id: str, as_json: bool) -> None:
    """Show an account, without its secrets."""
    with reach(place) as api:
        found = one(api, place, account_id)
        troubles = api.get("/status")["accounts_in_trouble"]
    if as_json:
        print_json(found)
        return
    mine = [
        t for t in troubles if (t["tenant_id"], t["account_id"]) == (place.tenant_id, account_id)
    ]
    print_facts(facts(found, mine))


def facts(account: Json, troubles: list[Json]) -> list[tuple[str, object]]:
    return [
        ("account", account["id"]),
        ("server", server(account)),
        ("tls", account["tls"] + ("" if account["verify"] else ", certificate not checked")),
        ("user", account["user"]),
        ("limits", limits(account)),
        ("at a limit", account["limit_behavior"]),
        ("connections", account["max_connections"]),
        ("rank, weight", f"{account['rank']}, {account['weight']}"),
        ("for senders of", ", ".join(account["sender_domains"]) or "any domain"),
        ("rewrites From to", account["rewrite_from"]),
        ("PEC", yes_no(account["is_pec_account"]) if account["is_pec_account"] else ""),
        ("changed", clock(account["updated_at"])),
        *(("rests", f"until {clock(t['until'])}: {t['reason']}") for t in troubles),
    ]


def stored(api: Api, place: Place) -> list[Json]:
    found: list[Json] = api.get("/accounts", tenant_id=place.tenant_id)["accounts"]
    return found


def one(api: Api, place: Place, account_id: str) -> Json:
    known = {account["id"]: account for account in stored(api, place)}
    if account_id not in known:
        hint = did_you_mean(account_id, known)
        raise Failure(f"{place.tenant_id} has no account {account_id!r}{hint}")
    return known[account_id]


def server(account: Json) -> str:
    if account["kind"] == "capture":
        return "nowhere: captured"
    return f"{account['host']}:{account['port']}"


def limits(account: Json) -> str:
    named = [(account[f"limit_per_{unit}"], unit) for unit in ("minute", "hour", "day")]
    return ", ".join(f"{count}/{unit}" for count, unit in named if count is not None)


@accounts.command("add")
@asked_argument("account_id", "ACCOUNT", "Account", complete_account)
@click.option("--host", help="The server's name or address.")
@click.option("--port", type=click.IntRange(1, 65_535), help=f"Default {SUBMISSION_PORT}.")
@click.option("--user", help="The login there; its password is asked for.")
@secret_options("password")
@click.option(
    "--tls",
    type=click.Choice(["none", "opportunistic", "starttls", "implicit"]),
    help="Default: implicit on port 465, STARTTLS with a login, else where it is offered.",
)
@click.option("--ca-file", metavar="PATH", help="Who signs its certificate.")
@click.option("--no-verify", is_flag=True, help="Do not check its certificate.")
@click.option(
    "--kind",
    type=click.Choice(["smtp", "capture"]),
    default="smtp",
    help="capture: keep the mail for looking at, and deliver nowhere.",
)
@click.option("--limit-per-minute", type=click.IntRange(min=0))
@click.option("--limit-per-hour", type=click.IntRange(min=0))
@click.option("--limit-per-day", type=click.IntRange(min=0))
@click.option("--limit-behavior", type=click.Choice(["defer", "reject"]))
@click.option("--max-connections", type=click.IntRange(min=1))
@click.option("--max-messages-per-connection", type=click.IntRange(min=1))
@click.option("--rank", type=click.IntRange(min=0), help="The lowest is tried first.")
@click.option("--weight", type=click.IntRange(min=1), help="Share among those of one rank.")
@click.option("--sender-domain", "sender_domains", multiple=True, help="Only for such senders.")
@click.option("--rewrite-from", metavar="ADDRESS")
@click.option("--pec", "is_pec_account", is_flag=True, help="An Italian certified mailbox.")
@click.option("--replace", is_flag=True, help="Put it in the place of one with this id.")
@click.pass_obj
def add_account(place: Place, /, account_id: str, replace: bool, **given: Any) -> None:
    """Make an account, or with --replace put a whole new one in its place."""
    source = {"stdin": given.pop("secret_stdin"), "file": given.pop("secret_file")}
    body = body_of(given) | {"id": account_id, "tenant_id": place.tenant_id}
    if body.get("user"):
        body["password"] = password_of(source)
    with reach(place) as api:
        is_known = account_id in {account["id"] for account in stored(api, place)}
        if is_known and not replace:
            raise Failure(f"there is an account {account_id!r} already; --replace puts a new one")
        api.post("/account", body)
    note(f"{account_id} is stored; try it with: pillarbox {place.name} {place.tenant_id} "
         f"accounts verify {account_id}")  # fmt: skip


def body_of(given: dict[str, Any]) -> Json:
    """Return what was given, as the API takes it; a server is asked for."""
    no_verify = given.pop("no_verify")
    if given["kind"] == "smtp":
        given |= where(given["host"], given["port"])
    body = {name: value for name, value in given.items() if value not in (None, ())}
    if body.get("ca_file"):
        body["ca_file"] = str(Path(body["ca_file"]).absolute())
    return body | ({"verify": False} if no_verify else {})


def where(host: str | None, port: int | None) -> Json:
    if host is None:
        if not on_terminal():
            raise Failure("--host is missing: the server that this account's mail leaves by", 2)
        host = click.prompt("Server", err=True)
        port = port or click.prompt("Port", default=SUBMISSION_PORT, type=int, err=True)
    return {"host": host, "port": port or SUBMISSION_PORT}


def password_of(source: dict[str, Any]) -> str:
    found = secret("Password", **source)
    if found is None:
        raise Failure("--user needs --password-file or --password-stdin", 2)
    return found


@accounts.command("verify")
@asked_argument("account_id", "ACCOUNT", "Account", complete_account)
@as_json
@click.pass_obj
def verify_account(place: Place, account_id: str, as_json: bool) -> None:
    """Connect, secure and log in, and say how each step went. No mail is sent."""
    with reach(place) as api:
        one(api, place, account_id)
        result = api.post(f"/account/{segment(account_id)}/verify", tenant_id=place.tenant_id)
    if as_json:
        print_json(result)
    else:
        words = {True: "ok", False: "failed", None: "not taken"}
        rows = [(step["step"], words[step["ok"]], step["detail"]) for step in result["steps"]]
        print_table(("step", "", "said"), rows)
    if not result["ok"]:
        raise Failure(f"{account_id} cannot be used", os.EX_TEMPFAIL)


@accounts.command("delete")
@asked_argument("account_id", "ACCOUNT", "Account", complete_account)
@yes
@click.pass_obj
def delete_account(place: Place, account_id: str, yes: bool) -> None:
    """Delete an account; mail that waits for it keeps waiting."""
    with reach(place) as api:
        one(api, place, account_id)
        confirm(f"Delete the account {account_id} of {place.tenant_id}?", yes=yes)
        api.delete(f"/account/{segment(account_id)}", tenant_id=place.tenant_id)
    note(f"{account_id} is gone")
