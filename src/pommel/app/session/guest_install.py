"""Install the session viewer (the reversed socket) in a guest or any SSH host; show its status; remove it. Band: app.

One file is sent to the guest: it has Pommel, its libraries, and if needed a program that downloads Python. Then `pommel
kvm install` in the guest does the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from pommel import locks, private
from pommel.app.session.reach import Reach, as_root, connected, reach
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, NotPermitted, PommelError, StateError
from pommel.foreign import parse_json
from pommel.progress import Progress, Report, ignore, note
from pommel.session.bundle import FETCHED_PYTHON, Bundle, make_bundle
from pommel.session.guest_system import PREFIX, QUESTION, GuestSystem, read_answer
from pommel.session.places import Places
from pommel.session.placing import place_script, remove_script

_PART_BYTES = 2 << 20
_INSTALL_S = 900.0  # Python may have to be downloaded, and an emulated guest is slow
_STATUS_S = 60.0
_PROGRAM = f"{PREFIX}/bin/pommel"


@dataclass(frozen=True, slots=True)
class GuestStatus:
    """The state of the session viewer in a guest. `session` is the session on the screen, `socket` that for viewers."""

    name: str
    system: str
    installed: bool
    version: str = ""
    running: bool = False
    users: tuple[str, ...] = ()
    session: str = ""
    socket: str = ""

    @property
    def ready(self) -> bool:
        """Whether viewers can connect."""
        return self.installed and self.running and bool(self.socket)


def install(
    name: str | None = None,
    *,
    host: str | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> GuestStatus:
    """Install or update the session viewer in a guest. Nothing is done if this version is installed and runs.

    Raises:
        UsageError: no guest is named, or there is none of that name.
        StateError: the machine is not running, does not answer, or cannot run it; or there are no libraries for it.
        NotPermitted: root is needed in the guest, and cannot be used.
        MissingProgram, CommandFailed, DeadlineError: a step failed; the message has its output.
    """
    workspace = workspace or Workspace.current()
    with connected(reach(workspace, name, host)) as there:
        system = _query_guest(there, report)
        root = as_root(there, system.root)
        with _new_bundle(workspace, system, report) as bundle:
            found = _status(there, root, system)
            if system.installed == bundle.version and found.ready:
                note(report, f"{there.label} already has it, and it runs")
                return found
            with _sent(there, bundle, report) as folder:
                _placed(there, root, system, bundle, folder, report)
        found = _status(there, root, replace(system, installed=bundle.version))
        if not found.ready:
            raise StateError(f"it is installed in {there.label}, but it does not run", hint=_look(there))
        return found


def status(name: str | None = None, *, host: str | None = None, workspace: Workspace | None = None) -> GuestStatus:
    """The state of the session viewer in a guest.

    Raises:
        UsageError, StateError, NotPermitted: as `install`.
    """
    with connected(reach(workspace or Workspace.current(), name, host)) as there:
        system = _query_guest(there, ignore)
        try:
            root = as_root(there, system.root)
        except NotPermitted:
            root = there
        return _status(there, root, system)


def remove(
    name: str | None = None,
    *,
    host: str | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> bool:
    """Remove the session viewer and all its files from a guest; return whether it was installed.

    Raises:
        UsageError, StateError, NotPermitted, CommandFailed: as `install`.
    """
    with connected(reach(workspace or Workspace.current(), name, host)) as there:
        system = _query_guest(there, report)
        report(Progress("removing"))
        _as_root(there, as_root(there, system.root), remove_script())
        report(Progress("removing", finished=True))
        return bool(system.installed)


def socket_of(system: str) -> str:
    """The path of the viewers' socket in a guest with this system."""
    return str(Places.of("macos" if system == "macos" else "linux").viewers)


def _look(there: Reach) -> str:
    ssh = f"pommel ssh {there.label} --" if there.target is not None else f"ssh {there.address}"
    return f"read its log there: {ssh} journalctl -u pommel-kvm (on a Mac: cat /var/log/pommel-daemon.log)"


def _query_guest(there: Reach, report: Report) -> GuestSystem:
    report(Progress("checking the guest"))
    system = read_answer(there.sh(QUESTION))
    python = f"Python {system.python.path}" if system.python else "no suitable Python"
    report(Progress("checking the guest", f"{system.system} on {system.machine}, {python}", finished=True))
    return system


@contextmanager
def _new_bundle(workspace: Workspace, system: GuestSystem, report: Report) -> Iterator[Bundle]:
    """Make the bundle for a guest; it is deleted after the block. Its downloads stay in the cache."""
    folder = workspace.home.cache / "session"
    private.make_folder(folder)
    with locks.hold(folder / "lock", busy="another pommel is preparing files for a guest", wait_s=_INSTALL_S):
        report(Progress("packing"))
        bundle = make_bundle(system, folder, workspace.env)
        report(Progress("packing", ", ".join(bundle.libraries), finished=True))
        try:
            yield bundle
        finally:
            bundle.path.unlink(missing_ok=True)


@contextmanager
def _sent(there: Reach, bundle: Bundle, report: Report) -> Iterator[str]:
    """Send the bundle to a temporary folder in the guest, and yield the folder."""
    folder = there.sh("umask 077; mktemp -d /tmp/pommel-session.XXXXXX").strip()
    try:
        data = memoryview(bundle.path.read_bytes())
        for start in range(0, len(data), _PART_BYTES):
            report(Progress("sending", done=start, total=len(data), unit="B"))
            there.send(bytes(data[start : start + _PART_BYTES]), shlex.quote(f"{folder}/bundle"))
        report(Progress("sending", done=len(data), total=len(data), unit="B", finished=True))
        yield folder
    finally:
        _forget(there, folder)


def _forget(there: Reach, folder: str) -> None:
    with suppress(PommelError):  # the guest may have stopped; its /tmp is emptied at the next boot
        there.sh(f"rm -rf {shlex.quote(folder)}", timeout_s=20)


def _placed(there: Reach, root: Reach, system: GuestSystem, bundle: Bundle, folder: str, report: Report) -> None:
    report(Progress("installing"))
    script = place_script(f"{folder}/bundle", bundle.sha256, "{}.{}".format(*FETCHED_PYTHON))
    words = ["kvm", "install", "--socket", socket_of(system.system), "--socket-user", system.user]
    script += shlex.join([_PROGRAM, *words, "--program", _PROGRAM]) + "\n"
    _as_root(there, root, script)
    report(Progress("installing", finished=True))


def _as_root(there: Reach, root: Reach, script: str) -> None:
    if root.root != "ask":
        root.sh(script, timeout_s=_INSTALL_S)
        return
    folder = there.sh("umask 077; mktemp -d /tmp/pommel-session.XXXXXX").strip()
    try:
        there.send(script.encode(), shlex.quote(f"{folder}/script"))
        root.sh_on_terminal(f"{folder}/script")
    finally:
        _forget(there, folder)


def told_status(output: str) -> dict[str, Any]:
    """The JSON object in the last line of the guest's `kvm status`; {}: there is none. It is not trusted."""
    try:
        told = parse_json(next(reversed(output.splitlines()), ""))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _status(there: Reach, root: Reach, system: GuestSystem) -> GuestStatus:
    if not system.installed:
        return GuestStatus(there.label, system.system, installed=False)
    told: dict[str, Any] = {}
    with suppress(CommandFailed):  # it is installed but does not work: reported as not installed, not running
        asked = root if root.root != "ask" else there
        told = told_status(asked.sh(f"{_PROGRAM} kvm status --json", timeout_s=_STATUS_S))
    users = told.get("users")
    return GuestStatus(
        name=there.label,
        system=system.system,
        installed=bool(told.get("installed")),
        version=system.installed,
        running=bool(told.get("running")),
        users=tuple(str(user) for user in users) if isinstance(users, list) else (),
        session=str(told.get("session", "")),
        socket=str(told.get("socket", "")),
    )
