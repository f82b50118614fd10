"""Machines as devices of a MeshCentral server: join, leave, status; and that they are online while they run. Band: app.

One process a home keeps them all online, known by the lock it holds (`mesh_running`). This is what is called from
outside of it. It looks for itself which machines run, so nobody has to tell it: only that it is there is seen to.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pommel import locks
from pommel.app import mesh_status, own_process
from pommel.app.mesh_status import FAILED, MeshStatus
from pommel.app.mesh_ticket import Ticket
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, PommelError, StateError
from pommel.machine.exclusive import serialised
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, warn

if TYPE_CHECKING:
    from pommel.mesh.membership import Membership

ONLINE_S = 30.0  # the server may keep us waiting for 20
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
    """Have machine `name` join a server; if it runs, wait until it is online there, or it is known why not.

    One that has joined before keeps its identity: on the same server it is the same device.

    Raises:
        UsageError: no machine is called so, or a device cannot pass for that agent.
        StateError: the machine has not been made, or the identity of before cannot be used.
    """
    from pommel.mesh import membership
    from pommel.mesh.agent import MACOS_UNIVERSAL

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with serialised(paths, wait_s=_LOCK_S):
        member = membership.join(paths.mesh, ticket.data, agent_id=agent_id or MACOS_UNIVERSAL)
    if locks.holder(paths.pidfile) is None:
        return status(name, workspace=workspace)
    keep_online(workspace)
    return _await_online(workspace, name, member, report)


def check_agent_id(agent_id: int) -> None:
    """Raise a UsageError if a device cannot pass for this agent."""
    from pommel.mesh import agent

    agent.check_agent_id(agent_id)


def leave(name: str, *, workspace: Workspace | None = None) -> None:
    """Have machine `name` leave its server, and forget who it was there. The server keeps it in its list, offline.

    Raises:
        StateError: it has joined none.
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
    """Say how machine `name` stands with its server.

    Raises:
        StateError: it has joined none.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_stranger(paths)
    return _told(paths, mesh_status.standings(workspace.home).get(name), locks.holder(workspace.home.mesh.lock))


def list_joined(*, workspace: Workspace | None = None) -> list[MeshStatus]:
    """How all machines stand that have joined a server."""
    workspace = workspace or Workspace.current()
    now, keeper = mesh_status.standings(workspace.home), locks.holder(workspace.home.mesh.lock)
    joined = (paths for paths in map(workspace.paths, workspace.home.names()) if mesh_status.has_joined(paths))
    return [_told(paths, now.get(paths.name), keeper) for paths in joined]


def _refuse_stranger(paths: MachinePaths) -> None:
    if not mesh_status.has_joined(paths):
        raise StateError(
            f"{paths.name} has not joined a MeshCentral server", hint=f"pommel mesh join {paths.name} --msh FILE"
        )


def _told(paths: MachinePaths, now: MeshStatus | None, keeper: int | None) -> MeshStatus:
    """A status with what the membership says, and with why a machine is offline."""
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
    if keeper is not None:  # it looks once a second, and has not yet
        return replace(known, standing="connecting", mesh_pid=keeper)
    return replace(known, why="no process keeps it online", hint="pommel mesh run")


def refuse_second(workspace: Workspace) -> None:
    """Make sure that nothing keeps the machines online yet.

    Raises:
        BusyError: a process does; the message has its pid.
    """
    if (pid := locks.holder(workspace.home.mesh.lock)) is not None:
        hint = "to see the state of the machines: pommel mesh status"
        raise BusyError(f"the machines of this home are already kept online ({locks.whom(pid)})", hint=hint)


def keep_online(workspace: Workspace) -> None:
    """See to it that the process is there which keeps running machines online. Waits for nothing."""
    paths = workspace.home.mesh
    if locks.holder(paths.lock) is not None:
        return
    paths.make()
    own_process.spawn(workspace, "mesh", "run", "--serve", log=paths.log, cwd=workspace.home.root).release()


def begin_with(workspace: Workspace, name: str, *, report: Report = ignore) -> None:
    """Have a machine that was started come online, if it has joined a server. Waits for nothing and never fails."""
    try:
        if mesh_status.has_joined(workspace.paths(name)):
            keep_online(workspace)
    except (PommelError, OSError) as why:
        warn(report, f"{name} does not come online on its MeshCentral server: {why}")


def end(workspace: Workspace) -> bool:
    """End the process that keeps the machines online; say whether there was one."""
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
