"""What a machine gets from this host by settings and by commands: ports, USB devices, folders. Band: app."""

from __future__ import annotations

from typing import Any

from pommel.app.network import forwards
from pommel.app.share import sharing
from pommel.app.usb import devices as usb
from pommel.app.workspace import Workspace
from pommel.machine.spec import MachineSpec


def placed(workspace: Workspace, spec: MachineSpec) -> dict[str, Any]:
    """The values for the rules, by the field names of `Placement`.

    Raises:
        ConfigError: two of them contradict each other.
        MachineError: the file of what was added by command cannot be read.
    """
    return forwards.placed(workspace, spec) | usb.placed(workspace, spec) | sharing.placed(workspace, spec)
