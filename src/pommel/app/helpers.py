"""Helper commands in ~/.local/bin, so that `pommel` and `vm-clip` are there in every folder. Band: app."""

from __future__ import annotations

import os

from pommel import account
from pommel.app import host_checks
from pommel.app.workspace import Workspace
from pommel.host import commands
from pommel.host.commands import Helper
from pommel.progress import Report, warn


def found(workspace: Workspace) -> list[Helper]:
    """The helper commands, and how each stands."""
    own = host_checks.own_command()
    names = {"pommel": own, "vm-clip": (*own, "clip", "vm-clip")}
    return commands.plan(account.home(workspace.env), workspace.env.get("PATH", os.defpath), names)


def steps(workspace: Workspace) -> list[tuple[str, str, bool]]:
    """What placing them would be: what, why, whether it is to do."""
    return [
        (f"install the command {helper.path}", helper.state, helper.state in ("missing", "outdated"))
        for helper in found(workspace)
    ]


def place(workspace: Workspace, *, report: Report) -> list[str]:
    """Place those that are missing or outdated; return a line for each."""
    done = []
    home = account.home(workspace.env)
    told = commands.advice(home, workspace.env.get("PATH", os.defpath), workspace.env.get("SHELL", ""))
    for helper in found(workspace):
        if helper.state in ("foreign", "edited"):
            who = "is not Pommel's" if helper.state == "foreign" else "was edited since Pommel wrote it"
            warn(report, f"{helper.path} {who}, and was not changed")
        elif helper.state in ("missing", "outdated"):
            commands.apply(helper)
            done.append(f"{helper.path}: placed")
            if told:
                warn(report, f"{told[0]}. To install it there, type: {told[1]}")
            if helper.shadowed_by:
                warn(report, f"typing {helper.path.name} starts {helper.shadowed_by}, which comes first in PATH")
    return done
