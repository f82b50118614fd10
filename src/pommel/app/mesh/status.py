"""The states of machines at their MeshCentral servers, in a file that the process for it writes. Band: app.

Each home has one file, which only this user can read. It is only valid while its writer holds the lock. This module
imports little, because `list` needs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app.workspace import Workspace
from pommel.paths import Home, MachinePaths

if TYPE_CHECKING:
    from pommel.mesh.membership import Membership

OFFLINE = "offline"
FAILED = "failed"  # the membership cannot be used, or there is a bug in Pommel


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """One machine.

    `standing` is connecting, online, waiting, refused, failed or offline; `since` is seconds since 1970. `hint` says
    what to type about `why`; `mesh_pid` is the process that keeps it online. Unknown fields are empty.
    """

    name: str
    standing: str = OFFLINE
    why: str = ""
    hint: str | None = None
    server: str = ""
    group: str = ""
    node_id: str = ""
    agent_id: int | None = None
    viewers: int = 0
    since: float | None = None
    mesh_pid: int | None = None
    key: str = ""  # identifies the membership: it changes when the machine joins with other data

    def as_dict(self) -> dict[str, Any]:
        """The status as one JSON object."""
        return asdict(self)


def keep(home: Home, machines: Mapping[str, MeshStatus]) -> None:
    """Write the states of this process's machines. An error, such as a full disk, is ignored: connections go on."""
    document = {"pid": os.getpid(), "machines": {name: status.as_dict() for name, status in machines.items()}}
    with contextlib.suppress(OSError):
        json_file.write(home.mesh.record, document)


def forget(home: Home) -> None:
    """Remove the file, because the process ends."""
    with contextlib.suppress(OSError):
        home.mesh.record.unlink(missing_ok=True)


def has_joined(paths: MachinePaths) -> bool:
    """Whether a machine has joined a server. Without its folder, no library is imported."""
    if not paths.mesh.is_dir():
        return False
    from pommel.mesh.membership import has_joined

    return has_joined(paths.mesh)


def key_of(member: Membership) -> str:
    """A hash that identifies a membership.

    It does not contain the device's name, whose change needs no new connection.
    """
    return hashlib.sha256(repr((member.msh, member.agent_id, member.identity.node_id)).encode()).hexdigest()[:16]


def standings(home: Home) -> dict[str, MeshStatus]:
    """The states of the machines that are kept online now."""
    pid = locks.holder(home.mesh.lock)
    if pid is None:
        return {}

    def made_of(said: dict[str, Any]) -> dict[str, MeshStatus]:
        return {name: MeshStatus(**one) for name, one in said["machines"].items()} if said["pid"] == pid else {}

    return json_file.read_or(home.mesh.record, made_of, {})


def standing(workspace: Workspace, paths: MachinePaths) -> str | None:
    """The state of one machine, in one word; None: it has not joined a server."""
    if not has_joined(paths):
        return None
    found = standings(workspace.home).get(paths.name) if locks.holder(paths.pidfile) is not None else None
    return found.standing if found is not None else OFFLINE
