"""All that is asked for of this host for one machine beside its settings' own words: ports, USB, folders. Band: app."""

from __future__ import annotations

from typing import Any

from pommel.app import forwards, sharing, usb
from pommel.app.workspace import Workspace
from pommel.machine.spec import MachineSpec


def placed(workspace: Workspace, spec: MachineSpec) -> dict[str, Any]:
    """What the rules are told of it, by the placement's names.

    Raises:
        ConfigError: two of them contradict each other.
        MachineError: what was added by command cannot be read.
    """
    return forwards.placed(workspace, spec) | usb.placed(workspace, spec) | sharing.placed(workspace, spec)
