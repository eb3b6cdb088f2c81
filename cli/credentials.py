"""`pillarbox NAME TENANT credentials`: the SMTP logins of a tenant's applications."""

from typing import Any

import click

from cli.asking import asked_argument, confirm, secret, secret_options
from cli.client import segment
from cli.failure import Failure
from cli.menu import did_you_mean
from cli.names import complete_user
from cli.options import as_json, yes
from cli.output import clock, note, print_json, print_table, say, yes_no
from cli.place import Place
from cli.reach import reach


@click.group(short_help="The SMTP logins of applications.")
def credentials() -> None:
    """Credentials: the SMTP logins of applications."""


@credentials.command("list")
@as_json
@click.pass_obj
def list_credentials(place: Place, as_json: bool) -> None:
    """List the logins, without their secrets."""
    with reach(place) as api:
        found = api.get("/credentials", tenant_id=place.tenant_id)["credentials"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            c["username"],
            ", ".join(c["senders"]),
            ", ".join(c["accounts"]) or "any",
            ", ".join(c["networks"]),
            yes_no(c["active"]),
            clock(c["created_at"]),
        )
        for c in found
    ]
    print_table(("user", "may send as", "by", "without password from", "active", "since"), rows)


@credentials.command("add")
@asked_argument("username", "USER", "User name", complete_user)
@click.option("--sender", "senders", multiple=True, help="*@acme.example, an address, or *.")
@click.option("--account", "accounts", multiple=True, help="An account it may send by.")
@click.option("--network", "networks", multiple=True, help="CIDR that needs no password.")
@click.option("--legacy", is_flag=True, help="Take bare LF as CRLF, for old devices.")
@click.option("--replace", is_flag=True, help="Put it in the place of one with this name.")
@secret_options("password")
@click.option("--choose-password", is_flag=True, help="Ask for a password; else one is made.")
@as_json
@click.pass_obj
def add_credential(
    place: Place, /, username: str, replace: bool, as_json: bool, **given: Any
) -> None:
    """Make a login; a password that we make is shown this once."""
    password = password_of(given)
    body = {
        "tenant_id": place.tenant_id,
        "username": username,
        **{name: value for name, value in given.items() if value},
        **({"password": password} if password else {}),
    }
    with reach(place) as api:
        known = names(api.get("/credentials", tenant_id=place.tenant_id)["credentials"])
        if username in known and not replace:
            raise Failure(f"there is a login {username!r} already; --replace puts a new one")
        made = api.post("/credential", body)
    if as_json:
        print_json({"username": username, "password": made.get("password")})
    elif "password" in made:
        note(f"{username} can log in. Its password is shown this once:")
        say(made["password"])
    else:
        note(f"{username} can log in")


def password_of(given: dict[str, Any]) -> str | None:
    """Take what says where the password comes from; None where one is to be made."""
    stdin, file = given.pop("secret_stdin"), given.pop("secret_file")
    if not (given.pop("choose_password") or stdin or file):
        return None
    password = secret("Password", stdin=stdin, file=file, twice=True)
    if password is None:
        raise Failure("no password was given", 2)
    return password


def names(found: list[dict[str, object]]) -> list[str]:
    return [str(each["username"]) for each in found]


@credentials.command("revoke")
@asked_argument("username", "USER", "User name", complete_user)
@yes
@click.pass_obj
def revoke_credential(place: Place, username: str, yes: bool) -> None:
    """End a login at once."""
    with reach(place) as api:
        known = names(api.get("/credentials", tenant_id=place.tenant_id)["credentials"])
        if username not in known:
            hint = did_you_mean(username, known)
            raise Failure(f"{place.tenant_id} has no login {username!r}{hint}")
        confirm(f"End the login {username} at once?", yes=yes)
        api.delete(f"/credential/{segment(username)}", tenant_id=place.tenant_id)
    note(f"{username} is revoked")
