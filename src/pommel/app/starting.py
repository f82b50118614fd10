"""Starting machines, holding them, stopping them, and staying with them. Band: app."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from pommel.app import console, guest, passt, reach
from pommel.app.machines import Status, status
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError
from pommel.machine import lifecycle, record, snapshot_store, state, stopping
from pommel.machine.boot_choices import BootChoice
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.permission import STARTED, STARTED_THROWAWAY, must_not_sleep, sleeps, working_on
from pommel.machine.runstate import Ended
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Report, ignore, note, warn

__all__ = ["BootChoice", "Ended", "restart", "resume", "sleep", "start", "start_from", "stay", "stop", "suspend"]

START_WAIT_S = 30.0  # for another start or stop of the same machine to finish
_USUAL = BootChoice()
_HELD = ("-S",)  # the guest does nothing before its memory is there


def start(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    choice: BootChoice = _USUAL,
    installed: bool = False,
    report: Report = ignore,
) -> Status:
    """Start machine `name` in the background; it is running when QMP answers. One that sleeps wakes up.

    `installed` is the user's word that macOS is on its disk: from now on the installer is left out.

    Raises:
        StateError: it does not exist, runs already, is golden, or is what linked clones lie over.
        MachineError: QEMU died at start; the message has the last lines of its log.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with _starting(paths, choice, report):
        sleeping = sleeps(paths)
        if sleeping and (installed or choice != _USUAL):
            raise StateError(
                f"{name} sleeps, and would wake up as it was: the choices for this start would be lost",
                hint=f"pommel start {name}, or pommel wake {name} --forget and start it anew",
            )
        if installed:
            record.save(paths.record, replace(record.load(paths.record), installed=True))
        wake = partial(_wake, paths, report) if sleeping else None
        _launch(workspace, paths, flags, choice, _HELD if sleeping else (), wake, report)
    return status(name, workspace=workspace, ask=False)


def start_from(workspace: Workspace, name: str, tag: str, *, report: Report = ignore) -> Status:
    """Start the stopped machine `name` at the moment that snapshot `tag` holds, memory and all.

    Raises:
        StateError: there is no such snapshot, or it has no memory.
        MachineError: QEMU cannot load it; what was there before is there again.
    """
    from pommel.machine import snapshots

    paths = workspace.made(name)
    with _starting(paths, _USUAL, report):
        loaded = snapshots.load(paths, tag, report=report)
        resume_it = partial(snapshots.resume, paths, tag, report=report) if loaded.start_args else None
        _launch(workspace, paths, None, _USUAL, loaded.start_args, resume_it, report)
    return status(name, workspace=workspace)


def stop(
    name: str,
    *,
    workspace: Workspace | None = None,
    timeout_s: float | None = None,
    force: bool = False,
    report: Report = ignore,
) -> str:
    """Stop machine `name`: ask its guest, press the power button, then `quit`, then kill. Return which did it.

    Raises:
        StateError: it does not exist or is not running.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name)
    paths = workspace.paths(name)
    seen = state.observe(paths)
    if not seen.alive and seen.state is not state.State.CRASHED:  # what a crash left behind is tidied up
        raise StateError(f"{name} is not running")
    patience = spec.stop_timeout_s if timeout_s is None else timeout_s
    # Whoever looks over SSH waits for it: for a guest that nobody has ever let in, that is not worth it.
    asks = not force and (spec.upstream == TRIAL or paths.known_hosts.exists())
    ask = partial(guest.ask_to_shut_down, workspace, name) if asks else None
    stopped = stopping.stop(paths, timeout_s=patience, force=force, ask_guest=ask, report=report)
    with contextlib.suppress(OSError):
        guest.end_shared(workspace, name)
    return stopped.how


def restart(
    name: str,
    *,
    workspace: Workspace | None = None,
    timeout_s: float | None = None,
    force: bool = False,
    report: Report = ignore,
) -> Status:
    """Stop machine `name`, and start it with what it was started with.

    Raises:
        StateError: it is not running.
        MachineError: QEMU died at start.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    flags, choice = _last_start(paths)
    served = console.find(paths)
    stop(name, workspace=workspace, timeout_s=timeout_s, force=force, report=report)
    seen = start(name, workspace=workspace, flags=flags, choice=choice, report=report)
    if served is not None:  # it waits for a while, but a guest may take longer to go; an open page finds its way back
        console.open_detached(workspace, name)
        seen = status(name, workspace=workspace)
    return seen


def suspend(name: str, *, workspace: Workspace | None = None) -> None:
    """Stop the vCPUs of the running machine `name`; its memory stays where it is.

    Raises:
        StateError: it is not running, or stands already.
    """
    lifecycle.pause((workspace or Workspace.current()).made(name))


def resume(name: str, *, workspace: Workspace | None = None) -> None:
    """Let the vCPUs of machine `name` go on.

    Raises:
        StateError: it is not running, or is not suspended.
    """
    lifecycle.resume((workspace or Workspace.current()).made(name))


def sleep(name: str, *, workspace: Workspace | None = None, report: Report = ignore) -> None:
    """Save the running machine `name` with its memory, and end it; the next start wakes it up.

    Raises:
        StateError: it is not running.
        MachineError: something forbids its memory to be saved; the message says what. It goes on.
    """
    from pommel.machine import savestate

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    guest.end_shared(workspace, name)  # it would hang until the guest wakes up
    savestate.sleep(paths, report=report)
    note_event(paths, "asleep")


def forget_sleep(name: str, *, workspace: Workspace | None = None) -> None:
    """Let the memory of the sleeping machine `name` go: it will boot as after a power cut.

    Raises:
        StateError: it does not sleep.
    """
    from pommel.machine import savestate

    savestate.forget((workspace or Workspace.current()).made(name))


def stay(
    name: str,
    *,
    watch: bool = False,
    flags: Mapping[str, Any] | None = None,
    choice: BootChoice = _USUAL,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Ended:
    """Wait until the running machine `name` has ended, and say how. With `watch`, start it again when it crashed.

    Raises:
        MachineError: it crashes again and again.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    if not watch:
        return lifecycle.wait_end(paths)
    from pommel.machine import watching

    again = partial(start, name, workspace=workspace, flags=flags, choice=choice, report=report)
    return watching.watch(paths, again, report=report)


def _wake(paths: MachinePaths, report: Report) -> None:
    from pommel.machine import savestate

    savestate.wake(paths, report=report)
    note_event(paths, "awake")


@contextlib.contextmanager
def _starting(paths: MachinePaths, choice: BootChoice, report: Report) -> Iterator[None]:
    """Hold the machine's lock for the block, in which it may be started."""
    with serialised(paths, wait_s=START_WAIT_S):
        if (seen := state.observe(paths)).alive:
            must_not_sleep(paths)
            raise StateError(f"{paths.name} is already running (pid {seen.pid})", hint=f"pommel console {paths.name}")
        with working_on(paths, STARTED_THROWAWAY if choice.throwaway else STARTED, report=report):
            yield


def _launch(
    workspace: Workspace,
    paths: MachinePaths,
    flags: Mapping[str, Any] | None,
    choice: BootChoice,
    more: Sequence[str],
    then: Callable[[], None] | None,
    report: Report,
) -> None:
    """Start QEMU, and do what has to follow before the guest does anything; if that fails, QEMU is ended."""
    from pommel.app.commandline import prepare

    planned = prepare(workspace, paths.name, flags, choice=choice, report=report)
    note(report, f"{planned.accel.kind.upper()}: {planned.accel.reason}")
    for line in planned.warnings:
        warn(report, line)
    if planned.accel.hint:
        note(report, f"for KVM, which is far quicker: {planned.accel.hint}")
    with passt.beside(paths, record.load(paths.record).ssh_port, wanted=planned.spec.network == "passt"):
        lifecycle.start(
            paths,
            [*planned.overlaid.command_line.argv, *more],
            accel=planned.accel.kind,
            cwd=planned.captured.cwd,
            env=planned.captured.facts.environment,
            report=report,
        )
    network = reach.network_of(planned.overlaid.command_line, record.load(paths.record).ssh_port)
    _remember_start(paths, flags, choice, network)
    try:
        if then is not None:
            then()
    except BaseException:  # Ctrl-C too: a QEMU that waits for its memory is of no use to anybody
        stopping.stop(paths, timeout_s=0, force=True, report=report)
        _recover(paths, report)
        raise
    if planned.spec.clipboard:
        from pommel.app import clip

        clip.begin_with(workspace, planned.spec, report=report)
    if paths.mesh.is_dir():
        from pommel.app import mesh

        mesh.begin_with(workspace, paths.name, report=report)


def _recover(paths: MachinePaths, report: Report) -> None:
    """Put right what a killed load or save left. A machine that never had a snapshot pays not even for the import."""
    if snapshot_store.folder(paths).is_dir():
        from pommel.machine import snapshots

        snapshots.recover(paths, report=report)


def _remember_start(
    paths: MachinePaths, flags: Mapping[str, Any] | None, choice: BootChoice, network: reach.Network
) -> None:
    """Keep what was said for this start, since a restart means the same machine, and which network it got."""
    told = {"flags": dict(flags or {}), "choice": asdict(choice), "network": reach.as_kept(network)}
    with contextlib.suppress(OSError):  # a full disk: the machine runs, and a restart is a plain one
        write_atomic(paths.directory / reach.STARTED, json.dumps(told))


def _last_start(paths: MachinePaths) -> tuple[dict[str, Any], BootChoice]:
    try:
        kept = json.loads((paths.directory / reach.STARTED).read_text())
        return dict(kept["flags"]), BootChoice(**kept["choice"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or another version's
        return {}, _USUAL
