"""A machine, a clipboard's sync, or what keeps machines on their servers, as a systemd user service. Band: app."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pommel import account
from pommel.app import carried, host_checks
from pommel.app.clip_target import Guest
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, StateError
from pommel.machine.units import (
    MESH_UNIT,
    MeshService,
    Service,
    SyncService,
    mesh_unit_text,
    sync_unit_name,
    sync_unit_text,
    unit_name,
    unit_text,
)
from pommel.paths import write_atomic
from pommel.process import run
from pommel.progress import Report, ignore, note, warn

_MINE = tuple(
    f"# Written by `pommel {words}"
    for words in ("service install ", "clip service install ", "mesh service install`", "snapshot timer install`")
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A unit file, and whether systemd has been told of it."""

    path: Path
    text: str
    enabled: bool


def unit_path(workspace: Workspace, name: str) -> Path:
    """Where the unit of machine `name` is (systemd.unit(5), user unit search path)."""
    return unit_folder(workspace) / unit_name(name)


def unit_folder(workspace: Workspace) -> Path:
    """Where a user's units are."""
    return account.folder(workspace.env, "XDG_CONFIG_HOME", ".config") / "systemd" / "user"


def text_of(workspace: Workspace, name: str) -> str:
    """The unit file of machine `name`.

    Raises:
        UsageError: no machine is called so, or systemd cannot start this Pommel from where it is.
    """
    spec = workspace.spec(name)
    command = host_checks.own_command()
    return unit_text(
        Service(
            machine=name,
            start=(*command, "start", name, "--foreground"),
            stop=(*command, "stop", name),
            stop_timeout_s=spec.stop_timeout_s,
            environment=carried.to_unit(workspace, name),
        )
    )


def clip_text(workspace: Workspace, guest: Guest) -> str:
    """The unit file that syncs a guest's clipboard.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is.
    """
    words = (*host_checks.own_command(), "clip", "sync", "--foreground", *guest.words)
    return sync_unit_text(SyncService(guest.label, guest.words, words, carried.to_unit(workspace, guest.machine)))


def install(
    name: str, *, enable: bool = True, workspace: Workspace | None = None, report: Report = ignore
) -> Installed:
    """Write the unit, tell systemd of it, and have it start with this user's session.

    Raises:
        StateError: the machine has not been made, or a unit of that name is not ours.
    """
    workspace = workspace or Workspace.current()
    workspace.made(name)
    made = place(unit_path(workspace, name), text_of(workspace, name), enable, report)
    if made.enabled:
        note(report, "it starts when you log in. To start it with the host: loginctl enable-linger")
    return made


def install_clip(workspace: Workspace, guest: Guest, *, enable: bool = True, report: Report = ignore) -> Installed:
    """Write the unit that syncs a guest's clipboard, tell systemd of it, and have it start with the desktop.

    Raises:
        StateError: a unit of that name is not ours.
    """
    made = place(unit_folder(workspace) / sync_unit_name(guest.paths.key), clip_text(workspace, guest), enable, report)
    if made.enabled:
        note(report, f"it starts with your desktop session. To start it now: systemctl --user start {made.path.name}")
    return made


def remove_clip(workspace: Workspace, guest: Guest, *, report: Report = ignore) -> Path:
    """Take the unit of a guest's clipboard away, and end the sync that it runs.

    Raises:
        StateError: there is none, or it is not ours.
    """
    path = unit_folder(workspace) / sync_unit_name(guest.paths.key)
    lacking = StateError(
        f"the clipboard of {guest.label} has no service", hint=f"pommel clip service install {' '.join(guest.words)}"
    )
    return take_away(path, ["disable", "--now"], lacking, report)


def mesh_text(workspace: Workspace) -> str:
    """The unit file of what keeps the machines on their MeshCentral servers.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is.
    """
    return mesh_unit_text(MeshService((*host_checks.own_command(), "mesh", "run"), carried.to_unit(workspace)))


def install_mesh(workspace: Workspace, *, enable: bool = True, report: Report = ignore) -> Installed:
    """Write the unit that keeps the machines on their servers, tell systemd of it, have it start with the session.

    Raises:
        StateError: a unit of that name is not ours.
    """
    made = place(mesh_unit_path(workspace), mesh_text(workspace), enable, report)
    if made.enabled:
        note(report, f"it starts when you log in. To start it now: systemctl --user start {MESH_UNIT}")
        note(report, "to start it with the host: loginctl enable-linger")
    return made


def remove_mesh(workspace: Workspace, *, report: Report = ignore) -> Path:
    """Take the unit away that keeps the machines on their servers, and end what it runs.

    Raises:
        StateError: there is none, or it is not ours.
    """
    lacking = StateError("no service keeps the machines online", hint="pommel mesh service install")
    return take_away(mesh_unit_path(workspace), ["disable", "--now"], lacking, report)


def mesh_unit_path(workspace: Workspace) -> Path:
    """Where the unit is that keeps the machines on their servers."""
    return unit_folder(workspace) / MESH_UNIT


def active(unit: str = MESH_UNIT) -> str:
    """What systemd says of a unit: active, inactive, failed, or that there is no systemd to ask."""
    if shutil.which("systemctl") is None:
        return "unknown: there is no systemd here"
    done = run(["systemctl", "--user", "is-active", unit], check=False, timeout_s=20)
    return done.text.strip() or "unknown: systemd does not answer"


def place(path: Path, text: str, enable: bool, report: Report) -> Installed:
    """Write a unit, tell systemd of it, and have it start if it is to.

    Raises:
        StateError: there is one that is not ours.
    """
    if path.exists() and not path.read_text(errors="replace").startswith(_MINE):
        raise StateError(f"{path} is not Pommel's, and was not changed", hint=f"check the file, then: rm {path}")
    write_atomic(path, text, mode=0o600)  # a proxy's password may be in it
    told = systemctl(["daemon-reload"], report) and (not enable or systemctl(["enable", path.name], report))
    return Installed(path, text, enabled=told and enable)


def remove(name: str, *, workspace: Workspace | None = None, report: Report = ignore) -> Path:
    """Take the unit of machine `name` away; the machine itself goes on as it is.

    Raises:
        StateError: there is none, or it is not ours.
    """
    workspace = workspace or Workspace.current()
    lacking = StateError(f"{name} has no service", hint=f"pommel service install {name}")
    return take_away(unit_path(workspace, name), ["disable"], lacking, report)


def take_away(path: Path, disable: list[str], lacking: StateError, report: Report) -> Path:
    """Have systemd let go of a unit, and delete its file.

    Raises:
        StateError: there is none (`lacking`), or it is not ours.
    """
    if not path.exists():
        raise lacking
    if not path.read_text(errors="replace").startswith(_MINE):
        raise StateError(f"{path} is not Pommel's, and was not changed", hint=f"check the file, then: rm {path}")
    systemctl([*disable, path.name], report)
    path.unlink()
    systemctl(["daemon-reload"], report)
    return path


def systemctl(words: list[str], report: Report) -> bool:
    """Tell the user's systemd; where there is none to tell, say what to type in a session that has one."""
    typed = " ".join(["systemctl", "--user", *words])
    if shutil.which("systemctl") is None:
        warn(report, f"there is no systemd here. Later, type: {typed}")
        return False
    try:
        run(["systemctl", "--user", *words], timeout_s=20)
    except CommandFailed as failure:
        warn(report, f"systemd could not be reached ({failure.message}); in your session, type: {typed}")
        return False
    return True
