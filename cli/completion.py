"""`pillarbox completion SHELL`: what a shell has to read for the Tab key to work."""

import click
from click.shell_completion import get_completion_class

HOW = """Print what makes the Tab key work in your shell.

\b
bash:  pillarbox completion bash > ~/.local/share/bash-completion/completions/pillarbox
zsh:   pillarbox completion zsh > "${fpath[1]}/_pillarbox"
fish:  pillarbox completion fish > ~/.config/fish/completions/pillarbox.fish
"""
VARIABLE = "_PILLARBOX_COMPLETE"


@click.command(help=HOW, short_help="Print what makes the Tab key work.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(ctx.find_root().command, {}, "pillarbox", VARIABLE).source())
