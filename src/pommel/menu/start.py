"""Shows the menu on a suitable terminal. Band: face.

The screen itself, and Textual with it, is only imported if there is a terminal for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pommel.app.workspace import Workspace
from pommel.errors import UsageError

# Terminals without cursor addressing, or unknown ones (terminfo's own names).
_CANNOT = ("", "dumb", "unknown", "emacs", "cons25")
_HINT = "to list the machines: pommel list"


def run(workspace: Workspace) -> int:
    """Show the menu of `workspace`'s machines until the user leaves; return the exit status (130: Ctrl-C or a signal).

    Raises:
        UsageError: there is no terminal, or it is not suitable.
    """
    check_terminal(workspace.env, is_terminal=all(s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)))
    import asyncio

    from pommel.menu.menu import Menu

    async def show() -> None:
        # Without the mouse, so that an address can be selected and copied as in any terminal.
        await menu.run_async(mouse=False)
        for job in menu.unfinished:
            print(f"waiting for this to be aborted: {job.text}", file=sys.stderr)

    menu = Menu(workspace)
    asyncio.run(show())
    return menu.return_code or 0


def check_terminal(env: Mapping[str, str], *, is_terminal: bool) -> None:
    """Refuse a terminal that cannot show a screen, before anything is drawn on it.

    Raises:
        UsageError: it cannot.
    """
    if not is_terminal:
        raise UsageError("the menu needs a terminal", hint=_HINT)
    if (kind := env.get("TERM", "")) in _CANNOT:
        raise UsageError(f"the menu cannot be shown on this terminal (TERM is {kind or 'not set'})", hint=_HINT)
