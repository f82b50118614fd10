"""The short live status under a foreground console: one line on stderr, redrawn each second. Band: face."""

from __future__ import annotations

import sys
import threading

import click

from pommel.app.guest import shell as guest
from pommel.app.machine import machines
from pommel.app.workspace import Workspace
from pommel.errors import PommelError


class Live:
    """Redraws one line about a machine until `stop`. It draws nothing if stderr is not a terminal."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace = workspace
        self._name = name
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._ssh = False

    def begin(self) -> None:
        """Start to draw."""
        if not sys.stderr.isatty():
            return
        click.echo("Ctrl-C ends the console; the machine keeps running.", err=True)
        self._thread = threading.Thread(target=self._draw_on, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop drawing and clear the line."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=8)
            click.echo("\r\x1b[2K", err=True, nl=False)

    def _draw_on(self) -> None:
        while not self._over.wait(1.0):
            try:
                line = self._line()
            except (PommelError, OSError) as failure:
                line = str(failure).splitlines()[0]
            click.echo("\r\x1b[2K" + line[:110], err=True, nl=False)

    def _line(self) -> str:
        seen = machines.status(self._name, workspace=self._workspace)
        # Asked only until the first answer, because each question is a login in the guest.
        self._ssh = self._ssh or (seen.state == "running" and guest.ssh_answers(self._workspace, self._name))
        ssh = seen.ssh if self._ssh else "no SSH yet"
        return f"{seen.name} {seen.state} for {machines.spell_duration(seen.uptime_s)} · {seen.accel} · {ssh}"
