"""Mount the shared folders in a guest, over SSH. Band: app."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from pommel import locks
from pommel.app import own_process
from pommel.app.session.reach import Reach, connected, reach
from pommel.app.share import sharing
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, NotPermitted, PommelError, StateError
from pommel.machine import share_connections, share_mounts, state
from pommel.machine.events import note_event
from pommel.machine.share_mounts import Mounted
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

_ASK_S, _SCRIPT_S = 90.0, 300.0  # an emulated guest that has just started is slow
_TRIES, _PAUSE_S = 5, 10.0
_LOCK_S = 600.0
LOCK, LOG = "shares.lock", "shares.log"


def mount(
    name: str,
    *,
    wait: bool = False,
    within_s: float | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> tuple[Mounted, ...]:
    """Mount exactly the shared folders in the guest of the running machine `name`; return the result for each.

    With `wait`, wait for a guest that is starting, and try again if it is too busy to answer. `within_s` is the limit
    for each command in the guest.

    Raises:
        StateError: it does not run, runs without a file server, or its guest does not answer.
        NotPermitted: its guest refuses the login, or sudo there needs a password.
        CommandFailed, DeadlineError: the script did not finish.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    if wait:
        from pommel.app.machine import waiting  # with numpy, for pictures, which most work on shares does without

        waiting.wait_ssh(name, workspace=workspace, report=report)
    for tries_left in reversed(range(_TRIES if wait else 1)):
        try:
            told = _mounted(workspace, paths, within_s or _SCRIPT_S)
            break
        except (StateError, DeadlineError, CommandFailed) as why:
            if not tries_left or not state.observe(paths).alive:
                raise
            note(report, f"{why.message}; trying again")
            time.sleep(_PAUSE_S)
    for each in told:
        note_event(paths, f"share {each.word}", f"{each.name} {each.why}".strip())
        if each.word == "refused":
            warn(report, f"the guest of {name} has not mounted {each.name}: {each.why or 'it does not say why'}")
    return told


def _mounted(workspace: Workspace, paths: MachinePaths, within_s: float = _SCRIPT_S) -> tuple[Mounted, ...]:
    name, ask_s = paths.name, min(_ASK_S, within_s)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    server = sharing.way_of(paths)
    if not sharing.has_way(paths):
        raise StateError(f"{name} was started without a file server for its guest", hint=f"pommel restart {name}")
    with locks.hold(paths.directory / LOCK, busy=f"another command mounts the folders of {name}", wait_s=_LOCK_S):
        spec = workspace.spec(name)
        served = sharing.serve(workspace, spec)
        wanted = (*(served if server else ()), *sharing.in_qemu(workspace, spec))
        with connected(reach(workspace, name)) as there:
            guest = share_mounts.read_guest(there.sh(share_mounts.QUESTION, timeout_s=ask_s))
            if guest is None:
                raise NotPermitted(
                    f"the guest of {name} reports neither Linux nor macOS",
                    hint="docs/shares.md says how to mount by hand",
                )
            as_whom = there if guest.kernel == share_mounts.MACOS else _root(there, guest.root, ask_s)
            text = share_mounts.script(guest, server, wanted, os.geteuid())
            told = share_mounts.read_answer(as_whom.sh(text, timeout_s=within_s))
            names = [each.name for each in served]
            refused = any(each.word == "refused" and each.name in names for each in told)
            # A Mac uses one connection for all shares, and an open one does not know a new share: so it is ended once.
            if refused and guest.kernel == share_mounts.MACOS and share_connections.end(paths):
                told = share_mounts.read_answer(as_whom.sh(text, timeout_s=within_s))
            return told


def _root(there: Reach, found: str, ask_s: float) -> Reach:
    """The same guest as root: in the way that its user has, or by a login as root with the same key."""
    if found:
        return replace(there, root=found)
    root = replace(there, root="login")
    root.connect()
    try:
        root.sh("true", timeout_s=ask_s)
    except (NotPermitted, CommandFailed) as why:
        raise NotPermitted(
            f"root is needed in {there.label}, and sudo there asks for a password",
            hint="let root accept Pommel's key; or mount by hand: docs/shares.md has the command",
        ) from why
    return root


def try_mount(workspace: Workspace, name: str, report: Report, *, within_s: float | None = None) -> tuple[Mounted, ...]:
    """As `mount`, but an error is a warning with the command to try again."""
    try:
        return mount(name, within_s=within_s, workspace=workspace, report=report)
    except PommelError as why:
        warn(report, f"{name}'s guest has not mounted it yet: {why.message}")
        note(report, f"{why.hint + '; then: ' if why.hint else ''}pommel share {name} --mount")
        return ()


def begin_with(workspace: Workspace, spec: MachineSpec, *, report: Report = ignore) -> None:
    """After a start: begin a process that mounts the folders when the guest is up. It does not wait for it."""
    paths = workspace.paths(spec.name)
    try:
        if not sharing.requested(workspace, spec).shares and not _has_mounted(paths):
            return
        log = paths.directory / LOG
        own_process.spawn(workspace, "share", spec.name, "--mount", "--wait", log=log).release()
    except (PommelError, OSError) as why:
        warn(report, f"the folders of {spec.name} are not mounted: {why}")


def _has_mounted(paths: MachinePaths) -> bool:
    """Whether the guest may have mounts of folders that are not shared any more."""
    return (paths.directory / LOCK).exists()
