"""Systemd user services for a machine, a clipboard sync, or the MeshCentral connections. Band: app."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pommel import account
from pommel.app.clip.target import Guest
from pommel.app.host import carried, checks
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, StateError
from pommel.machine.units import (
    MESH_UNIT,
    MachineService,
    MeshService,
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
from pommel.systemd import environment_of

_MINE = tuple(
    f"# Written by `pommel {words}"
    for words in ("service install ", "clip service install ", "mesh service install`", "snapshot timer install`")
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A unit file, and whether it is enabled in systemd."""

    path: Path
    text: str
    enabled: bool


def unit_path(workspace: Workspace, name: str) -> Path:
    """The path of machine `name`'s unit (systemd.unit(5), user unit search path)."""
    return unit_folder(workspace) / unit_name(name)


def unit_folder(workspace: Workspace) -> Path:
    """The folder of a user's units."""
    return account.folder(workspace.env, "XDG_CONFIG_HOME", ".config") / "systemd" / "user"


def text_of(workspace: Workspace, name: str) -> str:
    """The unit file of machine `name`.

    Raises:
        UsageError: there is no machine of that name, or systemd cannot start this Pommel from where it is.
    """
    spec = workspace.spec(name)
    command = checks.own_command()
    return unit_text(
        MachineService(
            machine=name,
            start=(*command, "start", name, "--foreground"),
            stop=(*command, "stop", name),
            stop_timeout_s=spec.stop_timeout_s,
            environment=carried.to_unit(workspace, name),
        )
    )


def clip_text(workspace: Workspace, guest: Guest) -> str:
    """The unit file for a guest's clipboard sync.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is.
    """
    words = (*checks.own_command(), "clip", "sync", "--foreground", *guest.words)
    return sync_unit_text(SyncService(guest.label, guest.words, words, carried.to_unit(workspace, guest.machine)))


def install(
    name: str, *, enable: bool = True, workspace: Workspace | None = None, report: Report = ignore
) -> Installed:
    """Write the unit, load it, and enable it for this user's session.

    Raises:
        StateError: the machine has not been made, or there is a unit of that name that Pommel did not write.
    """
    workspace = workspace or Workspace.current()
    workspace.made(name)
    made = place(unit_path(workspace, name), text_of(workspace, name), enable, report)
    if made.enabled:
        note(report, "it starts when you log in. To start it with the host: loginctl enable-linger")
    return made


def clip_unit_path(workspace: Workspace, guest: Guest) -> Path:
    """Where the unit of a guest's clipboard sync stands."""
    return unit_folder(workspace) / sync_unit_name(guest.paths.key)


def install_clip(workspace: Workspace, guest: Guest, *, enable: bool = True, report: Report = ignore) -> Installed:
    """Write the unit for a guest's clipboard sync, load it, and enable it for the desktop session.

    Raises:
        StateError: there is a unit of that name that Pommel did not write.
    """
    made = place(clip_unit_path(workspace, guest), clip_text(workspace, guest), enable, report)
    if made.enabled:
        note(report, f"it starts with your desktop session. To start it now: systemctl --user start {made.path.name}")
    return made


def remove_clip(workspace: Workspace, guest: Guest, *, report: Report = ignore) -> Path:
    """Remove the unit of a guest's clipboard sync, and end the sync that it runs.

    Raises:
        StateError: there is none, or Pommel did not write it.
    """
    path = clip_unit_path(workspace, guest)
    lacking = StateError(
        f"the clipboard of {guest.label} has no service", hint=f"pommel clip service install {' '.join(guest.words)}"
    )
    return take_away(path, ["disable", "--now"], lacking, report)


def mesh_text(workspace: Workspace) -> str:
    """The unit file for the process that keeps the machines connected to their MeshCentral servers.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is.
    """
    return mesh_unit_text(MeshService((*checks.own_command(), "mesh", "run"), carried.to_unit(workspace)))


def install_mesh(workspace: Workspace, *, enable: bool = True, report: Report = ignore) -> Installed:
    """Write the unit for the MeshCentral connections, load it, and enable it for the session.

    Raises:
        StateError: there is a unit of that name that Pommel did not write.
    """
    made = place(mesh_unit_path(workspace), mesh_text(workspace), enable, report)
    if made.enabled:
        note(report, f"it starts when you log in. To start it now: systemctl --user start {MESH_UNIT}")
        note(report, "to start it with the host: loginctl enable-linger")
    return made


def remove_mesh(workspace: Workspace, *, report: Report = ignore) -> Path:
    """Remove the unit for the MeshCentral connections, and end its process.

    Raises:
        StateError: there is none, or Pommel did not write it.
    """
    lacking = StateError("no service keeps the machines online", hint="pommel mesh service install")
    return take_away(mesh_unit_path(workspace), ["disable", "--now"], lacking, report)


def mesh_unit_path(workspace: Workspace) -> Path:
    """The path of the unit for the MeshCentral connections."""
    return unit_folder(workspace) / MESH_UNIT


def active(unit: str = MESH_UNIT) -> str:
    """The state of a unit by systemd: active, inactive, failed; or a sentence if there is no systemd."""
    if shutil.which("systemctl") is None:
        return "unknown: there is no systemd here"
    done = run(["systemctl", "--user", "is-active", unit], check=False, timeout_s=20)
    return done.text.strip() or "unknown: systemd does not answer"


def place(path: Path, text: str, enable: bool, report: Report) -> Installed:
    """Write a unit, load it, and with `enable` enable it.

    Raises:
        StateError: there is a unit of that name that Pommel did not write.
    """
    if path.exists() and not path.read_text(errors="replace").startswith(_MINE):
        raise StateError(f"{path} is not Pommel's, and was not changed", hint=f"check the file, then: rm {path}")
    write_atomic(path, text, mode=0o600)  # a proxy's password may be in it
    told = systemctl(["daemon-reload"], report) and (not enable or systemctl(["enable", path.name], report))
    return Installed(path, text, enabled=told and enable)


def remove(name: str, *, workspace: Workspace | None = None, report: Report = ignore) -> Path:
    """Remove the unit of machine `name`; the machine itself is not changed.

    Raises:
        StateError: there is none, or Pommel did not write it.
    """
    workspace = workspace or Workspace.current()
    lacking = StateError(f"{name} has no service", hint=f"pommel service install {name}")
    return take_away(unit_path(workspace, name), ["disable"], lacking, report)


def take_away(path: Path, disable: list[str], lacking: StateError, report: Report) -> Path:
    """Disable a unit in systemd, and delete its file.

    Raises:
        StateError: there is none (`lacking`), or Pommel did not write it.
    """
    if not path.exists():
        raise lacking
    if not path.read_text(errors="replace").startswith(_MINE):
        raise StateError(f"{path} is not Pommel's, and was not changed", hint=f"check the file, then: rm {path}")
    systemctl([*disable, path.name], report)
    path.unlink()
    systemctl(["daemon-reload"], report)
    return path


def remove_all(workspace: Workspace, *, report: Report = ignore) -> None:
    """Remove every user unit that Pommel wrote for this home, and end its process. Units of other homes stay."""
    for path in sorted(unit_folder(workspace).glob("*.service")):
        text = path.read_text(errors="replace")
        if text.startswith(_MINE) and is_for_home(workspace, text):
            take_away(path, ["disable", "--now"], StateError(f"{path} is gone"), report)


def is_for_home(workspace: Workspace, text: str) -> bool:
    """Whether a unit is for this home: by the variables in its text, or else by the usual folder."""
    found = environment_of(text)
    if said := found.get("POMMEL_HOME"):
        return Path(os.path.realpath(said)) == workspace.home.root
    return Path(os.path.realpath(account.data(found))) == workspace.home.root


def systemctl(words: list[str], report: Report) -> bool:
    """Run `systemctl --user`. Without systemd, warn with the command to type later; return whether it worked."""
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
