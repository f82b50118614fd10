"""Status, list, log and deletion of machines. `power` starts and stops them. Band: app."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pommel.app.console import page as console
from pommel.app.mesh import status as mesh_status
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import MachineError, StateError, UsageError
from pommel.machine import folder, installation, lease, leftovers, logs, moving, own_disks, record, state, usage
from pommel.machine.exclusive import serialised
from pommel.machine.permission import DELETED, must_allow, sleeps
from pommel.paths import MachinePaths

ASK_S = 0.3  # the wait for QEMU's answer whether its guest is paused; `list` must stay quick


@dataclass(frozen=True, slots=True)
class Status:
    """The status of one machine. A value that is unknown, or does not apply while it is stopped, is None."""

    name: str
    state: str  # absent, stopped, asleep, starting, installing, running, paused, crashed
    pid: int | None = None  # QEMU's
    uptime_s: float | None = None
    detail: str = ""  # why it is paused or crashed
    accel: str | None = None
    ssh_port: int | None = None  # on this host; None also if there is no forward to the guest
    ssh_user: str | None = None
    url: str | None = None
    ws: str | None = None
    tls_fingerprint: str | None = None  # SHA-256 of the certificate that the page is served with; empty without TLS
    console_pid: int | None = None  # of the process that serves the page
    directory: str | None = None
    cpu_percent: float | None = None  # of one core: two busy cores are 200
    memory_bytes: int | None = None  # the host's RAM that QEMU uses (RSS)
    disk_used_bytes: int | None = None  # on the host
    disk_size_bytes: int | None = None  # as the guest sees it
    viewers: int | None = None  # of the console's page
    golden: bool = False
    mesh: str | None = None  # its state at its MeshCentral server, if it has joined one: online, offline, …

    @property
    def ssh(self) -> str:
        """How to reach it by SSH, in a few words."""
        return f"ssh on port {self.ssh_port}" if self.ssh_port else f"ssh at its own address: pommel ip {self.name}"

    def as_dict(self) -> dict[str, Any]:
        """The status as one JSON object."""
        return asdict(self)


def status(name: str, *, workspace: Workspace | None = None, ask: bool = True) -> Status:
    """The status of machine `name`. Without `ask`, QEMU is not asked whether its guest is paused: it counts as running.

    Raises:
        UsageError: there is no machine of that name.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.paths(name)
    if folder.lost(paths.directory) is None:
        workspace.settings(name)
    return _describe(name, workspace, state.observe(paths, ask_s=ASK_S if ask else 0))


def _describe(name: str, workspace: Workspace, seen: state.Observed) -> Status:
    paths = workspace.paths(name)
    if (target := folder.lost(paths.directory)) is not None:
        return Status(name, "absent", detail=f"its folder is a link to {target}, which does not exist")
    spec = workspace.spec(name)
    if not paths.record.exists():
        return Status(name, "absent")
    kept = record.load(paths.record)
    served = console.find(paths) if seen.alive else None
    sample = usage.sample_process(seen.pid) if seen.pid else None
    used = usage.since_start(sample) if sample else None
    takes = [use for path in own_disks.all_disks(paths) if (use := usage.disk_use(path)) is not None]
    if seen.alive:  # nothing else runs regularly beside a machine, so its logs are cut here
        logs.bound(paths)
    return Status(
        name,
        _word(paths, kept, seen),
        pid=seen.pid,
        detail=seen.detail,
        uptime_s=seen.uptime_s,
        accel=seen.accel,
        ssh_port=reach.forwarded_port(workspace, name),
        ssh_user=workspace.ssh_user(spec),
        url=served.url if served else None,
        ws=served.ws if served else None,
        tls_fingerprint=served.fingerprint if served else None,
        console_pid=served.pid if served else None,
        directory=str(paths.directory),
        cpu_percent=round(used.cpu_percent, 1) if used else None,
        memory_bytes=used.rss_bytes if used else None,
        disk_used_bytes=sum(use.actual_bytes for use in takes),
        disk_size_bytes=sum(use.virtual_bytes or 0 for use in takes),
        viewers=served.viewers if served else 0 if seen.alive else None,
        golden=kept.golden,
        mesh=mesh_status.standing(workspace, paths),
    )


def _word(paths: MachinePaths, kept: record.MachineRecord, seen: state.Observed) -> str:
    """The state in one word: a running Mac without an installed macOS is installing; a stopped one may be asleep."""
    if seen.state is state.MachineState.RUNNING and kept.macos and not installation.installed(paths, kept)[0]:
        return "installing"
    if seen.state is state.MachineState.STOPPED and sleeps(paths):
        return "asleep"
    return str(seen.state)


def list_machines(*, workspace: Workspace | None = None) -> list[Status]:
    """The status of every machine that exists or is in pommel.toml.

    Throw-away machines without a holder are deleted.
    """
    workspace = workspace or Workspace.current()
    if any(lease.candidates(workspace.home)):
        from pommel.app.throwaway import holding  # imported late, because it imports this module to delete machines

        holding.sweep(workspace)
    names = workspace.names()
    looks = [(paths, state.observe(paths)) for paths in map(workspace.paths, names)]
    seen = state.ask_all(looks, ASK_S)
    return [_describe_or_why(name, workspace, each) for name, each in zip(names, seen, strict=True)]


def _describe_or_why(name: str, workspace: Workspace, seen: state.Observed) -> Status:
    """The status, or "broken" if its record cannot be read: one such machine must not hide the others."""
    try:
        return _describe(name, workspace, seen)
    except MachineError as broken:
        return Status(name, "broken", detail=broken.message)


def running(*, workspace: Workspace | None = None) -> list[str]:
    """The names of the machines that run now."""
    workspace = workspace or Workspace.current()
    return [name for name in workspace.home.names() if state.observe(workspace.paths(name)).alive]


def log(
    name: str, *, last: int = 50, follow: bool = False, workspace: Workspace | None = None
) -> Iterator[logs.LogLine]:
    """The last lines of machine `name`'s log: Pommel's events, QEMU's output and the guest's serial port, merged.

    With `follow`, new lines follow without an end.

    Raises:
        StateError: it has never been started.
    """
    paths = (workspace or Workspace.current()).made(name)
    if not paths.log.exists():
        raise StateError(f"{name} has no log: it has never been started", hint=f"pommel up {name}")
    return logs.follow_merged(paths, last) if follow else iter(logs.merged(paths, last))


def log_lines(name: str, *, last: int = 50, follow: bool = False, workspace: Workspace | None = None) -> Iterator[str]:
    """The log as lines of text: local time, source, text. Raises as `log` does."""
    for line in log(name, last=last, follow=follow, workspace=workspace):
        when = line.time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if line.time else " " * 19
        yield f"{when}  {line.source:<6}  {line.text}"


def delete(name: str, *, workspace: Workspace | None = None) -> None:
    """Delete machine `name`: its disk, NVRAM, keys and logs. Its console is ended. This cannot be undone.

    A disk that is used in place stays; only the link to it is deleted.

    Raises:
        StateError: it does not exist, it is running, or linked clones depend on it.
    """
    from pommel.app.host.checks import data_home
    from pommel.host import desktop

    workspace = workspace or Workspace.current()
    paths = workspace.paths(name)
    folder.refuse_lost(name, paths.directory)
    if not paths.directory.exists():
        if name not in workspace.names():
            raise UsageError(f"there is no machine called {name!r}", hint="to list all machines: pommel list")
        raise StateError(f"{name} does not exist")
    with serialised(paths):  # not `working_on`: a machine that is deleted needs no repair
        must_allow(paths, DELETED)
        console.stop(workspace, name)
        desktop.remove(name, data_home=data_home(workspace.env))
        moving.recover(paths)  # after an interrupted move, two files may look like its disk: find the right one first
        shutil.rmtree(paths.runtime, ignore_errors=True)  # first: without the machine's folder, no command finds it
        folder.take_away(paths.directory, paths.directory.with_name(f".{name}{leftovers.DELETED}"))
        paths.lock.unlink(missing_ok=True)  # a process that waits for it notices this, and locks a new file
    leftovers.sweep_unfinished(paths.directory.parent)


def spell_duration(seconds: float | None) -> str:
    """A duration in words: 42 s, 3 min, 2 h 5 min, 4 d."""
    if seconds is None:
        return "-"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d"
    if hours:
        return f"{hours} h {m} min"
    return f"{m} min" if m else f"{s} s"
