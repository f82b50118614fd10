"""`pommel menu`. Band: face."""

from __future__ import annotations

import click

from pommel.app.workspace import Workspace


@click.command("menu")
def menu_command() -> int:
    """Show all machines on one screen, with a key for whatever one does to them.

    Needs a terminal. Machines go on when it is left.
    """
    from pommel.menu import start

    return start.run(Workspace.current())
