"""How machines stand with their MeshCentral servers, as the process that keeps them there writes it down. Band: app.

One file a home, for this user only, and true only while its writer holds the lock. Light to import: `list` needs it.
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
FAILED = "failed"  # of itself: its membership cannot be used, or a fault of ours


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """One machine. `standing` is connecting, online, waiting, refused, failed or offline, `since` in seconds of 1970.

    `hint` says what to type about `why`; `mesh_pid` is the process that keeps it online. What is unknown is empty.
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
    key: str = ""  # of the membership that it stands for: another after each join with something else

    def as_dict(self) -> dict[str, Any]:
        """The status as one JSON object."""
        return asdict(self)


def keep(home: Home, machines: Mapping[str, MeshStatus]) -> None:
    """Write down how the machines of this process stand. A full disk costs the news, never the connections."""
    document = {"pid": os.getpid(), "machines": {name: status.as_dict() for name, status in machines.items()}}
    with contextlib.suppress(OSError):
        json_file.write(home.mesh.record, document)


def forget(home: Home) -> None:
    """Leave nothing written: the process ends."""
    with contextlib.suppress(OSError):
        home.mesh.record.unlink(missing_ok=True)


def has_joined(paths: MachinePaths) -> bool:
    """Whether a machine has joined a server. One that never had anything to do with one pays for no library."""
    if not paths.mesh.is_dir():
        return False
    from pommel.mesh.membership import has_joined

    return has_joined(paths.mesh)


def key_of(member: Membership) -> str:
    """What tells a membership from another one of the same machine; not its name, which the server is told of."""
    return hashlib.sha256(repr((member.msh, member.agent_id, member.identity.node_id)).encode()).hexdigest()[:16]


def standings(home: Home) -> dict[str, MeshStatus]:
    """How the machines stand that are kept on their servers now."""
    pid = locks.holder(home.mesh.lock)
    if pid is None:
        return {}

    def made_of(said: dict[str, Any]) -> dict[str, MeshStatus]:
        return {name: MeshStatus(**one) for name, one in said["machines"].items()} if said["pid"] == pid else {}

    return json_file.read_or(home.mesh.record, made_of, {})


def standing(workspace: Workspace, paths: MachinePaths) -> str | None:
    """How one machine stands, in a word; None: it has joined no server."""
    if not has_joined(paths):
        return None
    found = standings(workspace.home).get(paths.name) if locks.holder(paths.pidfile) is not None else None
    return found.standing if found is not None else OFFLINE
