"""All facts about one machine, for `pommel info`. Band: app."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pommel.app.disk import backups, disks, encryption, snapshot_due, snapshots
from pommel.app.guest import clock
from pommel.app.machine import displays, machines, memory
from pommel.app.network import forwards
from pommel.app.share import sharing
from pommel.app.usb import devices as usb
from pommel.app.workspace import Workspace
from pommel.machine import cloning, record
from pommel.recovery import catalog


def info(name: str, *, workspace: Workspace | None = None) -> dict[str, Any]:
    """Identity, versions, disks, snapshots, clones, ports and state of machine `name`, as one JSON object.

    Raises:
        StateError: it has not been made yet.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    kept = record.load(paths.record)
    seen, ways = (
        machines.status(name, workspace=workspace),
        forwards.listed(name, must_answer=False, workspace=workspace),
    )
    return {
        **seen.as_dict(),
        "macos": f"{catalog.find(kept.macos).title} {kept.macos}" if kept.macos else None,
        "upstream": kept.upstream,
        "created": kept.created,
        "clone_of": kept.clone_of,
        "golden": kept.golden,
        "encrypted": kept.encrypted is not None,
        "passphrase_at": encryption.where(workspace, workspace.spec(name), kept),
        "linked_clones": cloning.linked_clones(workspace.home.machines, name),
        "identity": {
            "uuid": kept.uuid,
            "mac": kept.mac,
            "model": kept.model,
            "serial": kept.serial,
            "board_serial": kept.mlb,
            "rom": kept.rom,
        },
        "disks": [each.as_dict() for each in disks.listed(name, workspace=workspace)],
        "snapshots": [
            {key: value for key, value in asdict(each).items() if key in ("tag", "created", "ram", "note")}
            for each in snapshots.list_snapshots(name, workspace=workspace)
        ],
        "memory": memory.known(name, workspace=workspace) if seen.pid else None,
        "clock": known.as_dict() if (known := clock.last_known(paths)) else None,
        "schedule": snapshot_due.schedule_as_dict(workspace, name),
        **{key: value for key, value in ways.as_dict().items() if key in ("forwards", "reverse")},
        "usb": usb.listed(name, must_answer=False, workspace=workspace).as_dict()["usb"],
        "backups": backups.listed(paths),
        "shares": sharing.listed(name, workspace=workspace).as_dict()["shares"],
        "graphics": displays.listed(name, look_ahead=False, workspace=workspace).as_dict(),
        "config": kept.config,
        "recovery": kept.recovery,
    }
