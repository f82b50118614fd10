"""The menu's calls of the app: one for each key, for one home. Band: face.

The seam of this room: the screen calls nothing else, always in a thread, and the tests put their own here where a real
machine would take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app import workspace
from pommel.app.console import page as console
from pommel.app.console.page import Console
from pommel.app.machine import machines, power, up
from pommel.app.machine.machines import Status
from pommel.errors import MissingProgram
from pommel.process import spawn_detached
from pommel.progress import Report

if TYPE_CHECKING:
    from pommel.app.disk.snapshots import Snapshot
    from pommel.app.machine.waiting import Waited


class Calls:
    """The app, for the machines of one workspace. Each call may block, and raises the app's own errors."""

    def __init__(self, where: workspace.Workspace) -> None:
        self._where = where

    @property
    def env(self) -> dict[str, str]:
        """The environment that the menu was called in."""
        return dict(self._where.env)

    def machines(self) -> list[Status]:
        """The states of all machines."""
        return machines.list_machines(workspace=self._now())

    def up(self, name: str, report: Report) -> Status:
        """Make `name` if need be, and start it. The host is left as it is: what it lacks is for the user to install.

        An installation may want a password from the terminal, which is the menu's.
        """
        return up.up(name, workspace=self._now(), consent=lambda _: False, until=None, report=report)

    def await_desktop(self, name: str, report: Report) -> Waited | None:
        """Wait until `name` shows its desktop, or its installer; None if it did not, which was reported."""
        from pommel.app.machine import waiting

        return waiting.try_wait(name, "desktop", workspace=self._now(), report=report)

    def steps(self, name: str) -> list[str]:
        """What `up` would do."""
        return [step.what for step in up.steps(name, workspace=self._now()) if step.needed]

    def stop(self, name: str, report: Report, *, force: bool = False) -> str:
        """Stop `name`; return the way that worked."""
        return power.stop(name, workspace=self._now(), force=force, report=report)

    def restart(self, name: str, report: Report) -> Status:
        """Stop `name` and start it again."""
        return power.restart(name, workspace=self._now(), report=report)

    def resume(self, name: str) -> None:
        """Continue the paused `name`."""
        power.resume(name, workspace=self._now())

    def delete(self, name: str) -> None:
        """Delete `name` and its disk."""
        machines.delete(name, workspace=self._now())

    def log(self, name: str, last: int) -> list[str]:
        """The last lines of `name`'s log."""
        return list(machines.log_lines(name, last=last, workspace=self._now()))

    def console(self, name: str) -> Console:
        """Start a process that serves `name`'s screen and outlives the menu, or find a running one."""
        return console.open_detached(self._now(), name)

    def save(self, name: str, tag: str, report: Report) -> Snapshot:
        """Save a snapshot of `name`; its `note` says what could not be in it."""
        from pommel.app.disk import snapshots

        return snapshots.save(name, tag, workspace=self._now(), report=report)

    def load(self, name: str, tag: str, report: Report) -> Snapshot:
        """Restore `name` to a snapshot."""
        from pommel.app.disk import snapshots

        return snapshots.load(name, tag, workspace=self._now(), report=report)

    def snapshots(self, name: str) -> Sequence[Snapshot]:
        """The snapshots of `name`, oldest first."""
        from pommel.app.disk import snapshots

        return snapshots.list_snapshots(name, workspace=self._now())

    def versions(self) -> list[str]:
        """The names of the macOS versions there are."""
        return workspace.versions()

    def browse(self, url: str) -> bool:
        """Open a page on this desktop; False: there is none.

        Not by `webbrowser`: that may start a browser which draws on the terminal.
        """
        if not (self._where.env.get("DISPLAY") or self._where.env.get("WAYLAND_DISPLAY")):
            return False
        try:
            spawn_detached(["xdg-open", url], Path("/dev/null"), env=self._where.env, umask=-1).release()
        except MissingProgram:
            return False
        return True

    def _now(self) -> workspace.Workspace:
        """The workspace as it is now: one that was used keeps the pommel.toml that it read."""
        return replace(self._where)
