"""`pommel menu`. Band: face."""

from __future__ import annotations

import click

from pommel.app.workspace import Workspace


@click.command("menu")
def menu_command() -> int:
    """Show all machines on one screen, with a key for each action.

    It needs a terminal. Machines keep running after you quit.
    """
    from pommel.menu import start

    return start.run(Workspace.current())
