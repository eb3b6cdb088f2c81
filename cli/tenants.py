"""`pillarbox NAME tenants`: who owns everything else."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, TypeVar

import click

from cli.asking import asked_argument, confirm, secret, secret_options
from cli.client import Json, segment
from cli.failure import Failure
from cli.grammar import INSTANCE
from cli.names import complete_tenant
from cli.options import as_json, yes
from cli.output import clock, note, print_facts, print_json, print_table, say, yes_no
from cli.place import Place
from cli.reach import reach, tenant
from cli.times import Moment, Span

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = (
    click.option("--name", help="What people call it."),
    click.option("--callback-url", "client_base_url", metavar="URL", help="Where reports go."),
    click.option("--sync-path", "client_sync_path", metavar="PATH", help="Path of the reports."),
    click.option(
        "--attachment-path", "client_attachment_path", metavar="PATH", help="Path of attachments."
    ),
    click.option("--weight", type=click.IntRange(min=1), help="Share of the sending."),
    click.option(
        "--keep-content-days", type=click.FloatRange(min=0), help="Keep delivered mail for a while."
    ),
    click.option("--bounce-return-path", metavar="ADDRESS", help="Envelope sender for bounces."),
    click.option("--hourly", type=click.IntRange(min=0), help="Mails that it may give an hour."),
    click.option("--daily", type=click.IntRange(min=0), help="Mails that it may give a day."),
    click.option(
        "--auth",
        "auth_method",
        type=click.Choice(["none", "bearer", "basic"]),
        help="How we log in at the callback; the secret is asked for.",
    ),
    click.option("--auth-user", metavar="USER", help="User name for --auth basic."),
    secret_options("auth-secret"),
)


def settings(command: Command) -> Command:
    return reduce(lambda declared, option: option(declared), reversed(SETTINGS), command)


@click.group(short_help="List, show, add, change and delete tenants.")
def tenants() -> None:
    """Tenants: organisations or applications, each with accounts, logins and mail of its own."""


@tenants.command("list")
@click.option("--active", "active_only", is_flag=True, help="Only those that may send.")
@as_json
@click.pass_obj
def list_tenants(place: Place, active_only: bool, as_json: bool) -> None:
    """List the tenants."""
    with reach(place) as api:
        found = api.get("/tenants", active_only=active_only)["tenants"]
    if as_json:
        print_json(found)
        return
    rows = [
        (t["id"], t["name"], yes_no(t["active"]), t["client_base_url"], clock(t["created_at"]))
        for t in found
    ]
    print_table(("id", "name", "active", "callback", "since"), rows)


@tenants.command("show")
@asked_argument("tenant_id", "TENANT", "Tenant", complete_tenant)
@as_json
@click.pass_obj
def show_tenant(place: Place, tenant_id: str, as_json: bool) -> None:
    """Show a tenant, without its secrets."""
    with reach(place) as api:
        found = tenant(api, tenant_id, place.name)
    if as_json:
        print_json(found)
    else:
        print_facts(facts(found))


def facts(found: Json) -> list[tuple[str, object]]:
    auth, limits = found["client_auth"] or {}, found["rate_limits"] or {}
    return [
        ("tenant", found["id"]),
        ("name", found["name"]),
        ("active", yes_no(found["active"])),
        ("weight", found["weight"]),
        ("callback", found["client_base_url"]),
        ("callback path", found["client_sync_path"]),
        ("callback login", auth.get("method")),
        ("may give", ", ".join(f"{count} {name}" for name, count in limits.items())),
        ("suspended", batches(found["suspended_batches"])),
        ("keeps content", found["keep_content_days"] and f"{found['keep_content_days']:g} days"),
        ("bounces to", found["bounce_return_path"]),
        ("since", clock(found["created_at"])),
        ("changed", clock(found["updated_at"])),
    ]


def batches(codes: Sequence[str]) -> str:
    return ", ".join("all" if code == "*" else code for code in codes)


@tenants.command("add")
@asked_argument("tenant_id", "TENANT", "Tenant", complete_tenant)
@settings
@as_json
@click.pass_obj
def add_tenant(place: Place, /, tenant_id: str, as_json: bool, **given: Any) -> None:
    """Make a tenant; its API key is shown this once."""
    if tenant_id in INSTANCE:
        raise Failure(f"{tenant_id!r} is a command: it cannot be a tenant's name here", 2)
    body = {"id": tenant_id, **changes(given)}
    with reach(place) as api:
        if api.find(f"/tenant/{segment(tenant_id)}") is not None:
            raise Failure(f"there is a tenant {tenant_id!r} already; try tenants update")
        made = api.post("/tenant", body)
    if as_json:
        print_json({"id": tenant_id, "api_key": made["api_key"]})
        return
    note(f"{tenant_id} is made. Its API key is shown this once:")
    say(made["api_key"])


@tenants.command("update")
@asked_argument("tenant_id", "TENANT", "Tenant", complete_tenant)
@settings
@click.option("--active/--inactive", default=None, help="Inactive: takes and sends nothing.")
@click.pass_obj
def update_tenant(place: Place, /, tenant_id: str, active: bool | None, **given: Any) -> None:
    """Change what is given, and nothing else."""
    body = changes(given) | ({} if active is None else {"active": active})
    if not body:
        raise Failure("nothing to change was given", 2)
    with reach(place) as api:
        tenant(api, tenant_id, place.name)
        api.put(f"/tenant/{segment(tenant_id)}", body)
    note(f"{tenant_id} is changed")


def changes(given: dict[str, Any]) -> Json:
    """Return the settings that were given, as the API takes them."""
    method = given.pop("auth_method")
    user = given.pop("auth_user")
    limits = {name: given.pop(name) for name in ("hourly", "daily")}
    source = {"stdin": given.pop("secret_stdin"), "file": given.pop("secret_file")}
    body = {name: value for name, value in given.items() if value is not None}
    if any(limit is not None for limit in limits.values()):
        body["rate_limits"] = {name: limit for name, limit in limits.items() if limit is not None}
    if method is not None:
        body["client_auth"] = client_auth(method, user, source)
    return body


def client_auth(method: str, user: str | None, source: dict[str, Any]) -> Json:
    if method == "none":
        return {"method": method}
    found = secret("Secret for the callback", **source)
    if found is None:
        raise Failure(f"--auth {method} needs --auth-secret-file or --auth-secret-stdin", 2)
    if method == "bearer":
        return {"method": method, "token": found}
    if user is None:
        raise Failure("--auth basic needs --auth-user", 2)
    return {"method": method, "user": user, "password": found}


@tenants.command("delete")
@asked_argument("tenant_id", "TENANT", "Tenant", complete_tenant)
@click.option("--force", is_flag=True, help="Also with mail that is not sent yet.")
@yes
@click.pass_obj
def delete_tenant(place: Place, tenant_id: str, force: bool, yes: bool) -> None:
    """Destroy a tenant with everything that is its own."""
    with reach(place) as api:
        tenant(api, tenant_id, place.name)
        path = f"/tenant/{segment(tenant_id)}"
        counts = api.delete(path, dry_run=True, force=True)["destroyed"]
        if counts["queued"] and not force:
            raise Failure(f"{counts['queued']} messages are not sent yet; --force destroys them")
        confirm(f"Destroy {tenant_id} with {listed(counts)}?", yes=yes)
        api.delete(path, force=force)
    note(f"{tenant_id} is gone")


def listed(counts: dict[str, int]) -> str:
    words = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return ", ".join(words) or "nothing in it"


@tenants.command("key")
@asked_argument("tenant_id", "TENANT", "Tenant", complete_tenant)
@click.option("--expires", "expires_at", type=Moment(), help="When it ends: 90d, 2027-01-01.")
@click.option("--grace", "grace_s", type=Span(), help="How long the earlier key still works.")
@click.option("--revoke", is_flag=True, help="End all keys, and make none.")
@yes
@as_json
@click.pass_obj
def make_key(
    place: Place,
    tenant_id: str,
    expires_at: float | None,
    grace_s: float | None,
    revoke: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a new API key in place of the one there is; it is shown this once."""
    with reach(place) as api:
        tenant(api, tenant_id, place.name)
        path = f"/tenant/{segment(tenant_id)}/api-key"
        if revoke:
            confirm(f"End all keys of {tenant_id} at once?", yes=yes)
            note(f"{api.delete(path)['revoked']} keys are revoked")
            return
        if not grace_s:
            confirm(f"The key that {tenant_id} has ends at once. Go on?", yes=yes)
        made = api.post(path, {"expires_at": expires_at, "grace_s": grace_s})
    if as_json:
        print_json({"id": tenant_id, "api_key": made["api_key"], "expires_at": expires_at})
    else:
        say(made["api_key"])
