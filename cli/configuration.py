"""`pillarbox NAME config`: the settings, each with where it came from; and how to change one."""

from collections.abc import Mapping
from pathlib import Path

import click

from cli.asking import secret, secret_options
from cli.failure import Failure
from cli.home import Instance
from cli.loading import read
from cli.menu import did_you_mean
from cli.options import as_json
from cli.output import note, print_json, print_table
from cli.place import Place
from cli.shown_settings import shown_settings
from relay.config import SETTINGS

BY_KEY = {setting.toml_key: setting for setting in SETTINGS}


@click.group(short_help="Show and change settings.")
def config() -> None:
    """Show the settings that are in effect, and change those in pillarbox.toml."""


@config.command("show")
@click.argument("key", required=False)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@as_json
@click.pass_obj
def show_config(place: Place, key: str | None, changed: bool, as_json: bool) -> None:
    """Show the settings, those of the node where one runs; secrets are hidden."""
    shown = in_effect(place.instance)
    if key is not None:
        known(key)
        shown = [each for each in shown if each["key"] == key]
    if changed:
        shown = [each for each in shown if each["origin"] != "default"]
    if as_json:
        print_json(shown)
    else:
        rows = [(each["key"], each["value"], each["origin"]) for each in shown]
        print_table(("setting", "value", "from"), rows)


def in_effect(instance: Instance) -> list[Mapping[str, str]]:
    if instance.live_sockets():
        from cli.client import connected  # noqa: PLC0415 - 60 ms, to speak to one that runs

        with connected(instance) as api:
            settings: list[Mapping[str, str]] = api.get("/instance/settings")["settings"]
            return settings
    return [
        {"key": each.key, "value": each.value, "origin": each.origin}
        for each in shown_settings(read(instance.home, instance.name, {}))
    ]


def known(key: str) -> None:
    if key not in BY_KEY:
        raise Failure(f"{key!r} is no setting{did_you_mean(key, BY_KEY)}", 2)


@config.command("set")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Take it out: the default counts again.")
@secret_options("value")
@click.pass_obj
def set_config(
    place: Place,
    key: str,
    value: str | None,
    unset: bool,
    secret_stdin: bool,
    secret_file: Path | None,
) -> None:
    """Change one setting in pillarbox.toml, once it is sure that it is valid.

    A secret is asked for, or read from --value-stdin or --value-file.
    """
    from cli.settings_file import change  # noqa: PLC0415 - 20 ms, which showing does not need

    known(key)
    if unset:
        change(place.instance, {key: None})
    else:
        given = value_for(key, value, stdin=secret_stdin, file=secret_file)
        change(place.instance, {key: given})
    if place.instance.live_sockets():
        note(f"{key} is changed; it counts after: pillarbox restart {place.name}")
    else:
        note(f"{key} is changed")


def value_for(key: str, value: str | None, *, stdin: bool, file: Path | None) -> str:
    if value is not None:
        if BY_KEY[key].is_secret:
            raise Failure(f"{key} is secret: others see arguments; use --value-stdin", 2)
        return value
    found = secret(key, stdin=stdin, file=file)
    if found is None:
        raise Failure("a value is missing", 2)
    return found
