"""Start, pause, stop and accompany machines. Band: app."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app.argv import device_checks
from pommel.app.console import page as console
from pommel.app.disk import encryption
from pommel.app.guest import shell as guest
from pommel.app.machine import beside
from pommel.app.machine.machines import Status, status
from pommel.app.network import passt, reach
from pommel.app.share import sharing
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import MachineError, MissingProgram, PommelError, StateError
from pommel.machine import lifecycle, ports, record, snapshot_store, state, stopping
from pommel.machine.boot_choices import BootChoice
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.lifecycle import STAYS, Ends
from pommel.machine.permission import SLEPT, STARTED, STARTED_THROWAWAY, must_allow, must_not_sleep, sleeps, working_on
from pommel.machine.runstate import RunEnd
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

if TYPE_CHECKING:
    from pommel.app.argv.commandline import PlannedCommand

__all__ = [
    "BootChoice",
    "RunEnd",
    "launch",
    "restart",
    "resume",
    "sleep",
    "start",
    "start_from",
    "stay",
    "stop",
    "suspend",
]

START_WAIT_S = 30.0  # enough for another start or stop of the same machine to finish
_USUAL = BootChoice()
_PORTS_TRIED = 5
_HELD = ("-S",)  # QEMU starts with paused vCPUs, so that the saved memory is loaded before the guest runs


def start(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    choice: BootChoice = _USUAL,
    installed: bool = False,
    report: Report = ignore,
) -> Status:
    """Start machine `name` in the background; return when QMP answers. A sleeping machine wakes up.

    With `installed`, the user says that macOS is on its disk: from now on the installer is left out.

    Raises:
        StateError: it does not exist, runs already, is golden, or is the base of linked clones.
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


def launch(
    workspace: Workspace,
    name: str,
    flags: Mapping[str, Any] | None = None,
    *,
    more: Callable[[PlannedCommand], Sequence[str]] | None = None,
    then: Callable[[], None] | None = None,
    ends: Ends = STAYS,
    report: Report = ignore,
) -> None:
    """Start the stopped machine `name`, and call `then`; if that fails, QEMU is ended.

    `more` returns arguments for QEMU in addition to the planned ones; for `ends` see `lifecycle.start`. Raises as
    `start`.
    """
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name, flags), _starting(paths, _USUAL, report):
        _launch(workspace, paths, flags, _USUAL, more or (), then, report, ends)


def start_from(workspace: Workspace, name: str, tag: str, *, report: Report = ignore) -> Status:
    """Start the stopped machine `name` from snapshot `tag`, with its memory.

    Raises:
        StateError: there is no such snapshot, or it has no memory.
        MachineError: QEMU cannot load it; the machine is as it was before.
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
    """Stop machine `name`: ask its guest, press the power button, then `quit`, then kill. Return what worked.

    Raises:
        StateError: it does not exist or is not running.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name)
    paths = workspace.paths(name)
    seen = state.observe(paths)
    # A crashed machine is not refused: `stopping.stop` removes what the crash left.
    if not seen.alive and seen.state is not state.MachineState.CRASHED:
        raise StateError(f"{name} is not running")
    patience = spec.stop_timeout_s if timeout_s is None else timeout_s
    if seen.alive and not force:
        with contextlib.suppress(PommelError):  # even if the load cannot be ended, the machine must be stopped
            _let_load_end(paths, report)
    # Without a known host key there has never been an SSH login, so a try would only cost its timeout.
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
    """Stop machine `name`, and start it with the same options.

    Raises:
        StateError: it is not running.
        MachineError: QEMU died at start.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    flags, choice = _last_start(paths)
    served = console.find(paths)
    with encryption.unlocked(workspace, name, flags):
        encryption.secret_for_start(paths)  # first: without its passphrase it could not start again after the stop
    stop(name, workspace=workspace, timeout_s=timeout_s, force=force, report=report)
    seen = start(name, workspace=workspace, flags=flags, choice=choice, report=report)
    # The console waits for a while, but the guest may take longer to stop. An open page connects to the new console.
    if served is not None:
        console.open_again(workspace, name)
        seen = status(name, workspace=workspace)
    return seen


def suspend(name: str, *, workspace: Workspace | None = None) -> None:
    """Pause the vCPUs of the running machine `name`; its memory stays in the host's RAM.

    Raises:
        StateError: it is not running, or is paused already.
    """
    lifecycle.pause((workspace or Workspace.current()).made(name))


def resume(name: str, *, workspace: Workspace | None = None) -> None:
    """Resume the vCPUs of machine `name`.

    Raises:
        StateError: it is not running, or is not paused.
    """
    from pommel.app.guest import clock_rest

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    held_s = clock_rest.held_for_s(paths)
    lifecycle.resume(paths)
    clock_rest.begin(workspace, name, held_s)


def sleep(name: str, *, workspace: Workspace | None = None, report: Report = ignore) -> None:
    """Save the running machine `name` with its memory, and end its QEMU; the next start wakes it up.

    Raises:
        StateError: it is not running.
        MachineError: its memory cannot be saved; the message says why. The machine keeps running.
    """
    from pommel.machine import savestate

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    must_allow(paths, SLEPT)
    guest.end_shared(workspace, name)  # the connection would hang until the guest wakes up
    savestate.sleep(paths, report=report)
    note_event(paths, "asleep")


def forget_sleep(name: str, *, workspace: Workspace | None = None) -> None:
    """Delete the saved memory of the sleeping machine `name`: it will boot as after a power cut.

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
) -> RunEnd:
    """Wait until the running machine `name` has ended, and return how. With `watch`, start it again after a crash.

    After each such start, the goal `until` ("screen", "ssh", "desktop") is waited for; if it is not reached, that is a
    warning.

    Raises:
        MachineError: it crashes repeatedly.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    from pommel.app.guest import clock_rest

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
    from pommel.app.machine import waiting

    with contextlib.suppress(MachineError):  # it has crashed again, which `watching.watch` also notices
        waiting.try_wait(name, until, workspace=workspace, report=report)


def _wake(workspace: Workspace, paths: MachinePaths, report: Report) -> None:
    from pommel.machine import savestate

    slept = savestate.asleep(paths)
    savestate.wake(paths, report=report)
    note_event(paths, "awake")
    if slept is not None:
        _give_time(workspace, paths.name, slept.created)


def _give_time(workspace: Workspace, name: str, since: str) -> None:
    """Set the clock of a guest that continues from a snapshot of the time `since`, without waiting for it."""
    from pommel.app.guest import clock_rest

    clock_rest.begin(workspace, name, clock_rest.since_s(since))


@contextlib.contextmanager
def _starting(paths: MachinePaths, choice: BootChoice, report: Report) -> Iterator[None]:
    """Hold the machine's lock during the block, after a check that it may be started."""
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
    more: Sequence[str] | Callable[[PlannedCommand], Sequence[str]],
    then: Callable[[], None] | None,
    report: Report,
    ends: Ends = STAYS,
) -> None:
    """Start QEMU, and call `then` before the guest runs; if that fails, QEMU is ended."""
    _serve_shares(workspace, paths, flags, report)
    planned, port = _run_qemu(workspace, paths, flags, choice, more, report, ends)
    network = reach.network_of(planned.overlaid.command_line, port, planned.forwards)
    _remember_start(paths, flags, choice, network)
    try:
        if then is not None:
            then()
    except BaseException:  # Ctrl-C too: QEMU would wait for its memory for ever
        stopping.stop(paths, timeout_s=0, force=True, report=report)
        _recover(paths, report)
        raise
    beside.begin(workspace, paths, planned, report=report)


def _serve_shares(workspace: Workspace, paths: MachinePaths, flags: Mapping[str, Any] | None, report: Report) -> None:
    """Prepare the shared folders. If a program for them is missing, the machine starts without them."""
    try:
        sharing.serve(workspace, workspace.spec(paths.name, flags))
    except MissingProgram as missing:  # the warnings of the start name the packages
        note(report, missing.message)


def _run_qemu(
    workspace: Workspace,
    paths: MachinePaths,
    flags: Mapping[str, Any] | None,
    choice: BootChoice,
    more: Sequence[str] | Callable[[PlannedCommand], Sequence[str]],
    report: Report,
    ends: Ends,
) -> tuple[PlannedCommand, int]:
    """Start QEMU; return its planned command and the host's port for its SSH.

    Another program may take the port between our check and QEMU's bind, such as a machine of another home that starts
    at the same moment. Then the next free port is used.
    """
    from pommel.app.argv.commandline import prepare

    secret: bytes | None = None
    for tries_left in reversed(range(_PORTS_TRIED)):
        planned = prepare(workspace, paths.name, flags, choice=choice, report=report)
        if planned.spec.resolution is not None:
            from pommel.app.machine import displays

            displays.tell_firmware(paths, planned, throwaway=choice.throwaway, report=report)
        port, passed = record.load(paths.record).ssh_port, planned.spec.network == "passt"
        if tries_left == _PORTS_TRIED - 1:  # the first try: warnings and the passphrase's check are needed only once
            _report_plan(planned, report)
        device_checks.refuse(planned.overlaid.command_line, planned.qemu, workspace.home.cache)
        secret = encryption.secret_for_start(paths) if tries_left == _PORTS_TRIED - 1 else secret
        try:
            with passt.beside(paths, port, planned.forwards, wanted=passed):
                lifecycle.start(
                    paths,
                    [*planned.overlaid.command_line.argv, *(more(planned) if callable(more) else more)],
                    accel=planned.accel.kind,
                    cwd=planned.captured.cwd,
                    env=planned.captured.facts.environment,
                    secret=secret,
                    ends=ends,
                    report=report,
                )
        except MachineError:
            if not tries_left or ports.is_free(port):
                raise
            note(report, f"port {port} was taken by another program while {paths.name} started; trying again")
            continue
        break
    return planned, port


def _report_plan(planned: PlannedCommand, report: Report) -> None:
    note(report, f"{planned.accel.kind.upper()}: {planned.accel.reason}")
    for line in planned.warnings:
        warn(report, line)
    if planned.accel.hint:
        note(report, f"to use KVM, which is much faster: {planned.accel.hint}")


def _recover(paths: MachinePaths, report: Report) -> None:
    """Repair what a killed load or save left. For a machine without snapshots, even the import is saved."""
    if snapshot_store.folder(paths).is_dir():
        from pommel.machine import snapshots

        snapshots.recover(paths, report=report)


def _let_load_end(paths: MachinePaths, report: Report) -> None:
    """Finish an interrupted load: the guest is paused for it, and must run to shut down."""
    if snapshot_store.loading(paths) is not None:
        from pommel.machine.snapshot_loading import let_it_end

        let_it_end(paths, report=report)


def _remember_start(
    paths: MachinePaths, flags: Mapping[str, Any] | None, choice: BootChoice, network: reach.Network
) -> None:
    """Store the options and the network of this start, because a restart must use the same ones."""
    told = {"flags": dict(flags or {}), "choice": asdict(choice), "network": reach.as_kept(network)}
    with contextlib.suppress(OSError):  # a full disk: the machine runs, and a restart has no options
        json_file.write(paths.directory / reach.STARTED, told)


def last_choice(paths: MachinePaths) -> BootChoice:
    """The boot choice of the machine's last start."""
    return _last_start(paths)[1]


def _last_start(paths: MachinePaths) -> tuple[dict[str, Any], BootChoice]:
    return json_file.read_or(
        paths.directory / reach.STARTED,
        lambda kept: (dict(kept["flags"]), BootChoice(**kept["choice"])),
        ({}, _USUAL),
    )
