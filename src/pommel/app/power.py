"""Starting machines, holding them, stopping them, and staying with them. Band: app."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app import beside, console, device_checks, encryption, guest, passt, reach, sharing
from pommel.app.machines import Status, status
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import MachineError, MissingProgram, PommelError, StateError
from pommel.machine import lifecycle, ports, record, snapshot_store, state, stopping
from pommel.machine.boot_choices import BootChoice
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.permission import SLEPT, STARTED, STARTED_THROWAWAY, must_allow, must_not_sleep, sleeps, working_on
from pommel.machine.runstate import Ended
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

if TYPE_CHECKING:
    from pommel.app.commandline import Planned

__all__ = ["BootChoice", "Ended", "restart", "resume", "sleep", "start", "start_from", "stay", "stop", "suspend"]

START_WAIT_S = 30.0  # for another start or stop of the same machine to finish
_USUAL = BootChoice()
_PORTS_TRIED = 5
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
    with encryption.unlocked(workspace, name, flags), _starting(paths, choice, report):
        sleeping = sleeps(paths)
        if sleeping and (installed or choice != _USUAL):
            raise StateError(
                f"{name} sleeps and would wake in its saved state, so the options of this command would have no effect",
                hint=f"pommel start {name}, or pommel wake {name} --forget and start it again",
            )
        if installed:
            record.save(paths.record, replace(record.load(paths.record), installed=True))
        wake = partial(_wake, workspace, paths, report) if sleeping else None
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
    with encryption.unlocked(workspace, name), _starting(paths, _USUAL, report):
        loaded = snapshots.load(paths, tag, report=report)
        resume_it = partial(snapshots.resume, paths, tag, report=report) if loaded.start_args else None
        _launch(workspace, paths, None, _USUAL, loaded.start_args, resume_it, report)
        if resume_it is not None:
            _give_time(workspace, name, loaded.snapshot.created)
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
    if seen.alive and not force:
        with contextlib.suppress(PommelError):  # a guest that cannot be mended is stopped all the same
            _let_load_end(paths, report)
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
    with encryption.unlocked(workspace, name, flags):
        encryption.secret_for_start(paths)  # before it is stopped: it could not be started again
    stop(name, workspace=workspace, timeout_s=timeout_s, force=force, report=report)
    seen = start(name, workspace=workspace, flags=flags, choice=choice, report=report)
    if served is not None:  # it waits for a while, but a guest may take longer to go; an open page finds its way back
        console.open_again(workspace, name)
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
    from pommel.app import clock_rest

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    held_s = clock_rest.held_for_s(paths)
    lifecycle.resume(paths)
    clock_rest.begin(workspace, name, held_s)


def sleep(name: str, *, workspace: Workspace | None = None, report: Report = ignore) -> None:
    """Save the running machine `name` with its memory, and end it; the next start wakes it up.

    Raises:
        StateError: it is not running.
        MachineError: something forbids its memory to be saved; the message says what. It goes on.
    """
    from pommel.machine import savestate

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    must_allow(paths, SLEPT)
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
    until: str | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Ended:
    """Wait until the running machine `name` has ended, and say how. With `watch`, start it again when it crashed.

    `until` ("screen", "ssh", "desktop") is how far a start of the watch's is followed; what does not come is a warning.

    Raises:
        MachineError: it crashes again and again.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    from pommel.app import clock_rest

    tick = clock_rest.ticker(workspace, name)
    if not watch:
        return lifecycle.wait_end(paths, on_tick=tick)
    from pommel.machine import watching

    def again() -> None:
        start(name, workspace=workspace, flags=flags, choice=choice, report=report)
        if until is not None:
            _follow(name, until, workspace, report)

    return watching.watch(paths, again, on_tick=tick, report=report)


def _follow(name: str, until: str, workspace: Workspace, report: Report) -> None:
    from pommel.app import waiting

    with contextlib.suppress(MachineError):  # it has crashed again, which the watch sees for itself
        waiting.try_wait(name, until, workspace=workspace, report=report)


def _wake(workspace: Workspace, paths: MachinePaths, report: Report) -> None:
    from pommel.machine import savestate

    slept = savestate.asleep(paths)
    savestate.wake(paths, report=report)
    note_event(paths, "awake")
    if slept is not None:
        _give_time(workspace, paths.name, slept.created)


def _give_time(workspace: Workspace, name: str, since: str) -> None:
    """Have the guest's clock put right, which goes on from a snapshot of that time; nothing waits for it."""
    from pommel.app import clock_rest

    clock_rest.begin(workspace, name, clock_rest.since_s(since))


@contextlib.contextmanager
def _starting(paths: MachinePaths, choice: BootChoice, report: Report) -> Iterator[None]:
    """Hold the machine's lock for the block, in which it may be started."""
    with serialised(paths, wait_s=START_WAIT_S):
        if (seen := state.observe(paths)).alive:
            must_not_sleep(paths)
            raise StateError(
                f"{paths.name} is already running ({locks.whom(seen.pid)})", hint=f"pommel console {paths.name}"
            )
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
    _serve_shares(workspace, paths, flags, report)
    planned, port = _run_qemu(workspace, paths, flags, choice, more, report)
    network = reach.network_of(planned.overlaid.command_line, port, planned.forwards)
    _remember_start(paths, flags, choice, network)
    try:
        if then is not None:
            then()
    except BaseException:  # Ctrl-C too: a QEMU that waits for its memory is of no use to anybody
        stopping.stop(paths, timeout_s=0, force=True, report=report)
        _recover(paths, report)
        raise
    beside.begin(workspace, paths, planned, report=report)


def _serve_shares(workspace: Workspace, paths: MachinePaths, flags: Mapping[str, Any] | None, report: Report) -> None:
    """Have the guest find the folders that are shared with it; a machine starts without what cannot be had."""
    try:
        sharing.serve(workspace, workspace.spec(paths.name, flags))
    except MissingProgram as missing:  # whose packages the start's own warnings name
        note(report, missing.message)


def _run_qemu(
    workspace: Workspace,
    paths: MachinePaths,
    flags: Mapping[str, Any] | None,
    choice: BootChoice,
    more: Sequence[str],
    report: Report,
) -> tuple[Planned, int]:
    """Start QEMU; return what it runs and the port of this host that leads to its SSH.

    Between the look that finds that port free and QEMU's own use of it somebody else may take it, such as a machine of
    another home that starts in the same moment. Then the next free port is taken.
    """
    from pommel.app.commandline import prepare

    secret: bytes | None = None
    for tries_left in reversed(range(_PORTS_TRIED)):
        planned = prepare(workspace, paths.name, flags, choice=choice, report=report)
        if planned.spec.resolution is not None:
            from pommel.app import displays  # not at each start: that is felt

            displays.tell_firmware(paths, planned, throwaway=choice.throwaway, report=report)
        port, passed = record.load(paths.record).ssh_port, planned.spec.network == "passt"
        if tries_left == _PORTS_TRIED - 1:
            _tell(planned, report)
        device_checks.refuse(planned.overlaid.command_line, planned.qemu, workspace.home.cache)
        secret = encryption.secret_for_start(paths) if tries_left == _PORTS_TRIED - 1 else secret
        try:
            with passt.beside(paths, port, planned.forwards, wanted=passed):
                lifecycle.start(
                    paths,
                    [*planned.overlaid.command_line.argv, *more],
                    accel=planned.accel.kind,
                    cwd=planned.captured.cwd,
                    env=planned.captured.facts.environment,
                    secret=secret,
                    report=report,
                )
        except MachineError:
            if not tries_left or ports.is_free(port):
                raise
            note(report, f"port {port} was taken by another program while {paths.name} started; trying again")
            continue
        break
    return planned, port


def _tell(planned: Planned, report: Report) -> None:
    note(report, f"{planned.accel.kind.upper()}: {planned.accel.reason}")
    for line in planned.warnings:
        warn(report, line)
    if planned.accel.hint:
        note(report, f"to use KVM, which is much faster: {planned.accel.hint}")


def _recover(paths: MachinePaths, report: Report) -> None:
    """Put right what a killed load or save left. A machine that never had a snapshot pays not even for the import."""
    if snapshot_store.folder(paths).is_dir():
        from pommel.machine import snapshots

        snapshots.recover(paths, report=report)


def _let_load_end(paths: MachinePaths, report: Report) -> None:
    """End a load that was cut off before the guest, which stands still for it, goes on to shut down."""
    if snapshot_store.loading(paths) is not None:
        from pommel.machine.snapshot_loading import let_it_end

        let_it_end(paths, report=report)


def _remember_start(
    paths: MachinePaths, flags: Mapping[str, Any] | None, choice: BootChoice, network: reach.Network
) -> None:
    """Keep what was said for this start, since a restart means the same machine, and which network it got."""
    told = {"flags": dict(flags or {}), "choice": asdict(choice), "network": reach.as_kept(network)}
    with contextlib.suppress(OSError):  # a full disk: the machine runs, and a restart is a plain one
        json_file.write(paths.directory / reach.STARTED, told)


def last_choice(paths: MachinePaths) -> BootChoice:
    """What was chosen for the machine's last start."""
    return _last_start(paths)[1]


def _last_start(paths: MachinePaths) -> tuple[dict[str, Any], BootChoice]:
    return json_file.read_or(
        paths.directory / reach.STARTED,
        lambda kept: (dict(kept["flags"]), BootChoice(**kept["choice"])),
        ({}, _USUAL),
    )
