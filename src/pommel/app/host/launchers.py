"""Launchers: commands in ~/.local/bin, so that `pommel` and `vm-clip` work in every folder. Band: app."""

from __future__ import annotations

import os

from pommel import account
from pommel.app.host import checks
from pommel.app.workspace import Workspace
from pommel.host import commands
from pommel.host.commands import Launcher
from pommel.progress import Report, warn


def found(workspace: Workspace) -> list[Launcher]:
    """The launchers with their states."""
    own = checks.own_command()
    names = {"pommel": own, "vm-clip": (*own, "clip", "vm-clip")}
    return commands.plan(account.home(workspace.env), workspace.env.get("PATH", os.defpath), names)


def steps(workspace: Workspace) -> list[tuple[str, str, bool]]:
    """The steps of `place`: the action, the launcher's state, and whether it is to be done."""
    return [
        (f"install the command {launcher.path}", launcher.state, launcher.state in ("missing", "outdated"))
        for launcher in found(workspace)
    ]


def place(workspace: Workspace, *, report: Report) -> list[str]:
    """Write the launchers that are missing or outdated; return a line for each."""
    done = []
    home = account.home(workspace.env)
    told = commands.advice(home, workspace.env.get("PATH", os.defpath), workspace.env.get("SHELL", ""))
    for launcher in found(workspace):
        if launcher.state in ("foreign", "edited"):
            who = "is not Pommel's" if launcher.state == "foreign" else "was edited since Pommel wrote it"
            warn(report, f"{launcher.path} {who}, and was not changed")
        elif launcher.state in ("missing", "outdated"):
            commands.apply(launcher)
            done.append(f"{launcher.path}: placed")
            if told:
                warn(report, f"{told[0]}. To install it there, type: {told[1]}")
            if launcher.shadowed_by:
                warn(report, f"typing {launcher.path.name} starts {launcher.shadowed_by}, which comes first in PATH")
    return done
