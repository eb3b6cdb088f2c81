"""`pillarbox list`, `start`, `stop`, `restart`, `status`, `delete`: the instances of a machine."""

import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click

from cli.asking import asked_argument, confirm
from cli.background import launch, shut_down
from cli.client import Json, over
from cli.failure import EX_UNAVAILABLE, Failure, not_running
from cli.grammar import RESERVED
from cli.home import NAME, Instance, check_owner, instances
from cli.instance_facts import described, facts, status_of
from cli.options import as_json, yes
from cli.output import note, print_facts, print_json, print_table, say
from cli.place import ExistingInstance, Place, home_of
from cli.reach import reach
from cli.serving import pids, starting

STOP_WITHIN_S = 120.0
ANSWER_WITHIN_S = 3.0
LOCALHOST = "127.0.0.1"
HTTP_PORT, SMTP_PORT = 8000, 2525


@click.command("list", short_help="List the instances of this machine.")
@as_json
@click.pass_context
def list_instances(ctx: click.Context, as_json: bool) -> None:
    """List the instances, whether they run, where, and how much waits in them."""
    found = [summary(instance) for instance in instances(home_of(ctx))]
    if as_json:
        print_json(found)
        return
    rows = [
        (each["name"], each["state"], each["http"], each["smtp"], each["waiting"]) for each in found
    ]
    print_table(("name", "state", "REST", "SMTP", "waiting"), rows)
    if not rows:
        note(f"none in {home_of(ctx)}; make one with: pillarbox start NAME")


def summary(instance: Instance) -> Json:
    """Describe an instance at a glance; the database of one that is stopped is not opened."""
    fixed = {"name": instance.name, "folder": str(instance.folder)}
    sockets = instance.live_sockets()
    if not sockets:
        state = "starting or stopping" if pids(instance.folder) else "stopped"
        return {**fixed, "state": state, "http": None, "smtp": None, "waiting": None}
    try:
        with over(sockets[0], ANSWER_WITHIN_S) as api:
            status = status_of(api)
    except Failure as failure:
        return {**fixed, "state": failure.message, "http": None, "smtp": None, "waiting": None}
    places = {each["service"]: each["address"] for each in status["facts"]["listening"]}
    waiting = sum(status["queue"].get(state, 0) for state in ("queued", "sending", "deferred"))
    return {
        **fixed,
        "state": "running" if status["active"] else "draining",
        "http": places.get("http"),
        "smtp": places.get("smtp") or places.get("smtps"),
        "waiting": waiting,
    }


@click.command(short_help="Start an instance in the background.")
@asked_argument("name", "NAME", "Name")
@click.option("--host", help=f"Address for REST and SMTP; default {LOCALHOST}.")
@click.option("--port", type=click.IntRange(0, 65_535), help=f"REST; default {HTTP_PORT}.")
@click.option("--smtp-port", type=click.IntRange(0, 65_535), help=f"Default {SMTP_PORT}.")
@click.option("--foreground", is_flag=True, help="Stay in the foreground, until Ctrl-C.")
@click.pass_context
def start(
    ctx: click.Context,
    name: str,
    host: str | None,
    port: int | None,
    smtp_port: int | None,
    foreground: bool,
) -> None:
    """Start an instance, and make it if there is none of this name.

    It is ready when this returns. Addresses that are given are kept in its pillarbox.toml.
    """
    instance = named(home_of(ctx), name)
    make_folder(instance)
    with starting(instance.folder):
        refuse_running(instance)
        options = listens(instance, host, port, smtp_port)
        if not foreground:
            launch(instance, options)
    if foreground:
        serve = import_module("cli.serve").serve
        words = [word for option in options.items() for word in option]
        serve.main([*words, "--name", name], prog_name="pillarbox start", parent=ctx)
        return
    tell_where(instance)


def named(home: Path, name: str) -> Instance:
    if name in RESERVED:
        raise Failure(f"{name!r} is a command: it cannot be an instance's name", 2)
    if not NAME.fullmatch(name):
        raise Failure("a name is 1 to 64 letters, digits, dots, hyphens or underscores", 2)
    return Instance(home, name)


def make_folder(instance: Instance) -> None:
    """Make the folders that are missing, for their owner only. Raises Failure."""
    try:
        for folder in (instance.home, instance.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{instance.folder}: {error.strerror}") from None
    check_owner(instance)


def listens(
    instance: Instance, host: str | None, port: int | None, smtp_port: int | None
) -> Mapping[str, str]:
    """Return the options of `serve` for the addresses that were given, and keep those."""
    given = {}
    if host is not None or port is not None:
        given["http"] = address(host, port, HTTP_PORT)
    if host is not None or smtp_port is not None:
        given["smtp"] = address(host, smtp_port, SMTP_PORT)
    if given:
        change = import_module("cli.settings_file").change
        change(instance, {f"{service}.listen": text for service, text in given.items()})
    return {f"--{service}-listen": text for service, text in given.items()}


def address(host: str | None, port: int | None, usual_port: int) -> str:
    host = host or LOCALHOST
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{usual_port if port is None else port}"


def refuse_running(instance: Instance) -> None:
    running = pids(instance.folder)
    if running:
        raise Failure(f"{instance.name} is running already (process {running[0]})")


def tell_where(instance: Instance) -> None:
    found = summary(instance)
    say(f"{instance.name} is running: REST {found['http']}, SMTP {found['smtp']}")


@click.command(short_help="Stop an instance, with what it sends finished.")
@click.argument("instance", metavar="NAME", type=ExistingInstance())
def stop(instance: Instance) -> None:
    """Stop an instance in order: what is under way is finished, the rest is kept."""
    if not pids(instance.folder):
        raise not_running(instance.name)
    shut_down(instance, STOP_WITHIN_S)
    say(f"{instance.name} is stopped")


@click.command(short_help="Stop and start an instance.")
@click.argument("instance", metavar="NAME", type=ExistingInstance())
def restart(instance: Instance) -> None:
    """Stop an instance if it runs, and start it; not where its settings are wrong by now."""
    import_module("cli.loading").read(instance.home, instance.name, {})
    if pids(instance.folder):
        shut_down(instance, STOP_WITHIN_S)
    with starting(instance.folder):
        refuse_running(instance)
        launch(instance, {})
    tell_where(instance)


@click.command(short_help="Show whether an instance runs, and how it is.")
@click.argument("instance", metavar="NAME", type=ExistingInstance())
@as_json
def status(instance: Instance, as_json: bool) -> None:
    """Show whether an instance runs, and how it is; exit 69 where it does not run."""
    running = pids(instance.folder)
    if not instance.live_sockets():
        state = "starting or stopping" if running else "stopped"
        found: Json = {"name": instance.name, "state": state, "pids": running}
        print_json(found) if as_json else print_facts(
            [("instance", instance.name), ("state", state), ("folder", instance.folder)]
        )
        raise SystemExit(EX_UNAVAILABLE)
    place = Place(instance.home, instance.name)
    with reach(place) as api:
        found = described(api, place, is_running=True) | {"pids": running}
    if as_json:
        print_json(found)
    else:
        print_facts([*facts(found), ("process", ", ".join(str(pid) for pid in running))])


@click.command(short_help="Delete an instance with everything in it.")
@click.argument("instance", metavar="NAME", type=ExistingInstance())
@click.option("--force", is_flag=True, help="Stop it if it runs, and do not ask.")
@yes
def delete(instance: Instance, force: bool, yes: bool) -> None:
    """Delete an instance: its folder, with settings, keys and the embedded database."""
    running = pids(instance.folder)
    if running and not force:
        raise Failure(f"{instance.name} is running; stop it first, or --force")
    confirm(f"Delete {instance.folder} with all mail in it, for good?", yes=yes or force)
    if running:
        shut_down(instance, STOP_WITHIN_S)
    try:
        shutil.rmtree(instance.folder)
    except OSError as error:
        raise Failure(f"{error.filename or instance.folder}: {error.strerror or error}") from None
    note(f"{instance.name} is deleted; a database elsewhere is left as it is")
