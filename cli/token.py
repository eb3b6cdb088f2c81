"""`pillarbox NAME token`: the admin token, shown or made anew."""

import os

import click

from cli.asking import confirm
from cli.failure import Failure
from cli.loading import load
from cli.options import yes
from cli.output import note, say
from cli.place import Place
from cli.token_file import NAME, replace_token


@click.command(short_help="Show the admin token, or make a new one.")
@click.option("--regenerate", is_flag=True, help="End the old one at once, and make a new one.")
@yes
@click.pass_obj
def token(place: Place, regenerate: bool, yes: bool) -> None:
    """Show the admin token of this instance.

    With --regenerate a new one is made; nodes of this machine take it up with their next request.
    """
    config = load(place.home, place.name, {})
    origin = config.origins["http.api_token"]
    if not regenerate:
        found = config.http.api_token
        say(found.get_secret_value() if found else "")
        return
    if origin != str(config.instance_dir / NAME):
        raise Failure(f"the token is set by {origin}: change it there", os.EX_CONFIG)
    confirm("Everything that uses the old token is locked out at once. Go on?", yes=yes)
    note("the new token is in use; nodes of other machines keep their own")
    say(replace_token(config.instance_dir))
