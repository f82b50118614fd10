"""Show the menu, on a terminal that can. Band: face.

Not the screen itself: that, and Textual with it, is imported only when there is a terminal for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pommel.app.workspace import Workspace
from pommel.errors import UsageError

# Terminals that know no cursor addressing, or of which nothing is known (terminfo's own words).
_CANNOT = ("", "dumb", "unknown", "emacs", "cons25")
_HINT = "to list the machines: pommel list"


def run(workspace: Workspace) -> int:
    """Show the menu of `workspace`'s machines until it is left; return the exit status (130: by Ctrl-C or a signal).

    Raises:
        UsageError: there is no terminal, or none that can show it.
    """
    check_terminal(workspace.env, is_terminal=all(s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)))
    import asyncio

    from pommel.menu.menu import Menu

    async def show() -> None:
        # Without the mouse: an address can be marked and copied as in any terminal.
        await menu.run_async(mouse=False)
        for job in menu.unfinished:
            print(f"waiting for this to be aborted: {job.text}", file=sys.stderr)

    menu = Menu(workspace)
    asyncio.run(show())
    return menu.return_code or 0


def check_terminal(env: Mapping[str, str], *, is_terminal: bool) -> None:
    """Refuse what cannot show a screen, before anything is drawn on it.

    Raises:
        UsageError: it cannot.
    """
    if not is_terminal:
        raise UsageError("the menu needs a terminal", hint=_HINT)
    if (kind := env.get("TERM", "")) in _CANNOT:
        raise UsageError(f"the menu cannot be shown on this terminal (TERM is {kind or 'not set'})", hint=_HINT)
