"""The life of machines: start, stop, status, list, log, delete. Band: app."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pommel import locks
from pommel.app import console
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import lifecycle, logs, record, state, stopping
from pommel.progress import Report, ignore, note, warn

START_WAIT_S = 30.0  # for another start or stop of the same machine to finish
ASK_S = 0.3  # how long a living QEMU may take to say whether its guest is paused


@dataclass(frozen=True, slots=True)
class Status:
    """How one machine is. What is unknown, or does not apply while it is stopped, is None."""

    name: str
    state: str  # absent, stopped, starting, running, paused, …
    pid: int | None = None
    uptime_s: float | None = None
    detail: str = ""  # why it is paused or crashed
    accel: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None
    url: str | None = None
    ws: str | None = None
    directory: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The status as one JSON object."""
        return asdict(self)


def status(name: str, *, workspace: Workspace | None = None) -> Status:
    """Say how machine `name` is.

    Raises:
        UsageError: no machine is called so.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name)
    paths = workspace.paths(name)
    if not paths.record.exists():
        return Status(name, "absent")
    seen = state.observe(paths, ask_s=ASK_S)
    kept = record.load(paths.record)
    served = console.find(paths)
    return Status(
        name,
        seen.state,
        pid=seen.pid,
        detail=seen.detail,
        uptime_s=seen.uptime_s,
        accel=seen.accel,
        ssh_port=kept.ssh_port,
        ssh_user=workspace.ssh_user(spec),
        url=served.url if served else None,
        ws=served.ws if served else None,
        directory=str(paths.directory),
    )


def list_machines(*, workspace: Workspace | None = None) -> list[Status]:
    """The status of every machine: made, or named in pommel.toml."""
    workspace = workspace or Workspace.current()
    return [status(name, workspace=workspace) for name in workspace.names()]


def start(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    report: Report = ignore,
) -> Status:
    """Start machine `name` in the background; it is running when QMP answers.

    Raises:
        StateError: it does not exist, or is running already.
        MachineError: QEMU died at start; the message has the last lines of its log.
    """
    from pommel.app.commandline import prepare

    workspace = workspace or Workspace.current()
    workspace.settings(name, flags)
    paths = workspace.paths(name)
    if not paths.record.exists():
        raise StateError(f"{name} has not been made yet", hint=f"pommel up {name}")
    with locks.hold(paths.lock, busy=f"another pommel is at work on {name}", wait_s=START_WAIT_S):
        if (seen := state.observe(paths)).alive:
            raise StateError(f"{name} is already running (pid {seen.pid})", hint=f"pommel console {name}")
        planned = prepare(workspace, name, flags, report=report)
        note(report, f"{planned.accel.kind.upper()}: {planned.accel.reason}")
        for line in planned.warnings:
            warn(report, line)
        if planned.accel.hint:
            note(report, f"for KVM, which is far quicker: {planned.accel.hint}")
        argv, cwd = planned.overlaid.command_line.argv, planned.captured.cwd
        lifecycle.start(paths, argv, accel=planned.accel.kind, cwd=cwd, report=report)
    return status(name, workspace=workspace)


def stop(
    name: str,
    *,
    workspace: Workspace | None = None,
    timeout_s: float | None = None,
    force: bool = False,
    report: Report = ignore,
) -> str:
    """Stop machine `name`: ACPI power-down, then `quit`, then kill. Return which did it.

    Raises:
        StateError: it does not exist or is not running.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running")
    patience = spec.stop_timeout_s if timeout_s is None else timeout_s
    return stopping.stop(paths, timeout_s=patience, force=force, report=report).how


def running(*, workspace: Workspace | None = None) -> list[str]:
    """The names of the machines that run now."""
    workspace = workspace or Workspace.current()
    return [name for name in workspace.home.names() if state.observe(workspace.paths(name)).alive]


def log_lines(name: str, *, last: int = 50, follow: bool = False, workspace: Workspace | None = None) -> Iterator[str]:
    """The last lines of machine `name`'s log; with `follow`, then those to come, for ever.

    Raises:
        StateError: it has never been started.
    """
    workspace = workspace or Workspace.current()
    workspace.settings(name)
    paths = workspace.paths(name)
    if not paths.log.exists():
        raise StateError(f"{name} has no log: it has never been started", hint=f"pommel up {name}")
    return logs.follow(paths, last) if follow else iter(logs.last(paths, last))


def delete(name: str, *, workspace: Workspace | None = None) -> None:
    """Delete machine `name`: its disk, NVRAM, keys, logs. Its console is ended. There is no way back.

    Raises:
        StateError: it does not exist, or it is running.
    """
    from pommel.app.host_checks import data_home
    from pommel.host import desktop

    workspace = workspace or Workspace.current()
    paths = workspace.paths(name)
    if not paths.directory.exists():
        if name not in workspace.names():
            raise UsageError(f"there is no machine called {name!r}", hint="pommel list shows them")
        raise StateError(f"{name} does not exist")
    with locks.hold(paths.lock, busy=f"another pommel is at work on {name}"):
        if state.observe(paths).alive:
            raise StateError(f"{name} is running", hint=f"pommel stop {name}")
        console.stop(workspace, name)
        # Out of sight in one step: a delete that is cut off leaves no half machine.
        desktop.remove(name, data_home=data_home(workspace.env))
        doomed = paths.directory.with_name(f".{name}.building.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        paths.directory.rename(doomed)
        shutil.rmtree(doomed)
        shutil.rmtree(paths.runtime, ignore_errors=True)


def spell_duration(seconds: float | None) -> str:
    """A duration as a person says it: 42 s, 3 min, 2 h 5 min, 4 d."""
    if seconds is None:
        return "-"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d"
    if hours:
        return f"{hours} h {m} min"
    return f"{m} min" if m else f"{s} s"
