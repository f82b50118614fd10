"""`pommel completion SHELL`: the script that completes commands, options and machines' names. Band: face."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  pommel completion bash > ~/.local/share/bash-completion/completions/pommel
    zsh:   pommel completion zsh > ~/.zfunc/_pommel
    fish:  pommel completion fish > ~/.config/fish/completions/pommel.fish
    """
    from pommel.cli.main import pommel

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(pommel, {}, "pommel", "_POMMEL_COMPLETE").source())
