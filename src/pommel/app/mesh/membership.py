"""Machines as devices of a MeshCentral server: join, leave, status, and the process for it. Band: app.

One process for each home keeps all its machines online (`app.mesh.running`); it holds a lock. The functions here are
called in other processes. The process finds running machines by itself, so it only has to be started.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pommel import locks
from pommel.app import own_process
from pommel.app.mesh import status as mesh_status
from pommel.app.mesh.status import FAILED, MeshStatus
from pommel.app.mesh.ticket import Ticket
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, PommelError, StateError
from pommel.machine.exclusive import serialised
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, warn

if TYPE_CHECKING:
    from pommel.mesh.membership import Membership

ONLINE_S = 30.0  # the server may delay its answer for 20 s
OFFLINE_S = 5.0
_LOCK_S = 30.0
_END_S = 5.0
_SETTLED = ("online", "waiting", "refused", FAILED)


def join(
    name: str,
    ticket: Ticket,
    *,
    agent_id: int | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> MeshStatus:
    """Let machine `name` join a server. If it runs, wait until it is online there, or the reason against it is known.

    A machine that has joined before keeps its identity: on the same server it is the same device.

    Raises:
        UsageError: there is no machine of that name, or `agent_id` is not possible.
        StateError: the machine has not been made, or its earlier identity cannot be used.
    """
    from pommel.mesh import membership
    from pommel.mesh.mesh_agent import MACOS_UNIVERSAL

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with serialised(paths, wait_s=_LOCK_S):
        member = membership.join(paths.mesh, ticket.data, agent_id=agent_id or MACOS_UNIVERSAL)
    if locks.holder(paths.pidfile) is None:
        return status(name, workspace=workspace)
    keep_online(workspace)
    return _await_online(workspace, name, member, report)


def check_agent_id(agent_id: int) -> None:
    """Raise a UsageError if a device cannot present itself as an agent of this type."""
    from pommel.mesh import mesh_agent

    mesh_agent.check_agent_id(agent_id)


def leave(name: str, *, workspace: Workspace | None = None) -> None:
    """Let machine `name` leave its server, and delete its identity there. The server still lists it, as offline.

    Raises:
        StateError: it has not joined a server.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with serialised(paths, wait_s=_LOCK_S):
        _refuse_stranger(paths)
        from pommel.mesh import membership

        membership.leave(paths.mesh)
        shutil.rmtree(paths.mesh, ignore_errors=True)
    deadline = time.monotonic() + OFFLINE_S
    while name in mesh_status.standings(workspace.home) and time.monotonic() < deadline:
        time.sleep(0.05)


def status(name: str, *, workspace: Workspace | None = None) -> MeshStatus:
    """The state of machine `name` at its server.

    Raises:
        StateError: it has not joined a server.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_stranger(paths)
    return _current_status(
        paths, mesh_status.standings(workspace.home).get(name), locks.holder(workspace.home.mesh.lock)
    )


def list_joined(*, workspace: Workspace | None = None) -> list[MeshStatus]:
    """The states of all machines that have joined a server."""
    workspace = workspace or Workspace.current()
    now, keeper = mesh_status.standings(workspace.home), locks.holder(workspace.home.mesh.lock)
    joined = (paths for paths in map(workspace.paths, workspace.home.names()) if mesh_status.has_joined(paths))
    return [_current_status(paths, now.get(paths.name), keeper) for paths in joined]


def _refuse_stranger(paths: MachinePaths) -> None:
    if not mesh_status.has_joined(paths):
        raise StateError(
            f"{paths.name} has not joined a MeshCentral server", hint=f"pommel mesh join {paths.name} --msh FILE"
        )


def _current_status(paths: MachinePaths, now: MeshStatus | None, keeper: int | None) -> MeshStatus:
    """A status with the facts of the membership, and the reason if the machine is offline."""
    from pommel.mesh.membership import load

    try:
        member = load(paths.mesh)
    except PommelError as damaged:
        return MeshStatus(paths.name, FAILED, damaged.message, damaged.hint)
    alive = locks.holder(paths.pidfile) is not None
    known = now if now is not None and alive else MeshStatus(paths.name, server=member.msh.servers[0].url)
    known = replace(known, group=member.msh.mesh_name, node_id=member.identity.node_id, agent_id=member.agent_id)
    if not alive:
        return replace(known, why=f"{paths.name} is not running", hint=f"pommel start {paths.name}")
    if now is not None:
        return known
    if keeper is not None:  # the process looks once a second, and has not yet seen this machine
        return replace(known, standing="connecting", mesh_pid=keeper)
    return replace(known, why="no process keeps it online", hint="pommel mesh run")


def refuse_second(workspace: Workspace) -> None:
    """Refuse a second process that keeps the machines online.

    Raises:
        BusyError: there is one; the message has its pid.
    """
    if (pid := locks.holder(workspace.home.mesh.lock)) is not None:
        hint = "to see the state of the machines: pommel mesh status"
        raise BusyError(f"the machines of this home are already kept online ({locks.whom(pid)})", hint=hint)


def keep_online(workspace: Workspace) -> None:
    """Start the process that keeps running machines online, if it does not run. It does not wait for it."""
    paths = workspace.home.mesh
    if locks.holder(paths.lock) is not None:
        return
    paths.make()
    own_process.spawn(workspace, "mesh", "run", "--serve", log=paths.log, cwd=workspace.home.root).release()


def begin_with(workspace: Workspace, name: str, *, report: Report = ignore) -> None:
    """After a start: bring a machine that has joined a server online. It does not wait, and an error is a warning."""
    try:
        if mesh_status.has_joined(workspace.paths(name)):
            keep_online(workspace)
    except (PommelError, OSError) as why:
        warn(report, f"{name} does not come online on its MeshCentral server: {why}")


def end(workspace: Workspace) -> bool:
    """End the process that keeps the machines online; return whether there was one."""
    return own_process.end(workspace.home.mesh.lock, within_s=_END_S)


def _await_online(workspace: Workspace, name: str, member: Membership, report: Report) -> MeshStatus:
    step, began = f"connecting to {member.msh.servers[0].url}", time.monotonic()
    while (waited := time.monotonic() - began) < ONLINE_S:
        report(Progress(step, done=waited, unit="s"))
        seen = mesh_status.standings(workspace.home).get(name)
        if seen is not None and seen.key == mesh_status.key_of(member) and seen.standing in _SETTLED:
            break
        time.sleep(0.05)
    report(Progress(step, finished=True))
    return status(name, workspace=workspace)
