"""A golden machine with saved memory, whose clones continue from there instead of a boot. Band: app.

It is made once: the machine boots with its RAM in a file, reaches a goal, is paused, and its state is saved. Then it is
golden, because its disks must not change after that: they would not fit the memory. A clone can continue from it if its
command line is the same, except for values such as paths and the UUID. The guest's memory is the same in all clones, so
it also has the MAC address of the golden machine.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import pommel
from pommel.app.argv.commandline import PlannedCommand
from pommel.app.guest import shell as guest
from pommel.app.machine import power, waiting
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import MachineError, PommelError, StateError
from pommel.host.qemu_version import qemu_version
from pommel.machine import memory_file, record, saved_memory
from pommel.machine.exclusive import serialised
from pommel.machine.lifecycle import Ends
from pommel.machine.permission import GILDED, SLEPT, must_allow, working_on
from pommel.machine.pinned import pin_holder
from pommel.machine.rules.process import name_of
from pommel.machine.stopping import stop
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, note

_END_S = 60.0
_SYNC_S = 120.0


def save(
    name: str,
    *,
    until: str = "ssh",
    wait_timeout_s: float | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> None:
    """Boot the stopped machine `name`, wait for the goal `until`, save its memory and make it golden.

    Raises:
        StateError: it runs, sleeps, is golden or encrypted, or linked clones depend on it.
        MachineError, DeadlineError: it does not reach the goal, or its memory cannot be saved. Then it is stopped.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    must_allow(paths, SLEPT)
    booting = _Booting(workspace, paths)
    saved_memory.begin(paths)
    try:
        power.launch(workspace, name, more=booting.words, ends=Ends(with_us=True), report=report)
        waiting.wait(name, until, timeout_s=wait_timeout_s, workspace=workspace, report=report)
        guest.ssh_run(name, "sync", timeout_s=_SYNC_S, workspace=workspace)
        _hold(workspace, paths, booting, report)
    except BaseException:  # also Ctrl-C
        _give_up(paths)
        raise
    report(Progress("memory", f"the memory of {name} is saved, and {name} is golden now", finished=True))


def _hold(workspace: Workspace, paths: MachinePaths, booting: _Booting, report: Report) -> None:
    """Save the running machine and make it golden, under one lock: in between, no command may start or change it."""
    report(Progress("memory", f"saving the memory of {paths.name}"))
    guest.end_shared(workspace, paths.name)
    with serialised(paths):
        with pin_holder(paths.pidfile) as qemu:
            saved_memory.save(paths)
            if qemu is not None and not qemu.ended(_END_S):
                raise MachineError(f"the memory of {paths.name} is saved, but its QEMU does not end")
        with working_on(paths, GILDED):
            saved_memory.finish(paths, booting.qemu, booting.line)
            record.save(paths.record, replace(record.load(paths.record), golden=True))


def _give_up(paths: MachinePaths) -> None:
    with contextlib.suppress(PommelError):  # it has ended by itself, or never started
        stop(paths, timeout_s=0, force=True)
    if not record.load(paths.record).golden:
        saved_memory.forget(paths)


class _Booting:
    """The start whose memory is saved: its command line and its QEMU."""

    def __init__(self, workspace: Workspace, paths: MachinePaths) -> None:
        self._workspace, self._paths = workspace, paths
        self.line: list[str] = []
        self.qemu = ""

    def words(self, planned: PlannedCommand) -> list[str]:
        """The further arguments for QEMU."""
        line = planned.overlaid.command_line
        if (why := memory_file.why_not(line)) is not None:
            raise StateError(f"the memory of {self._paths.name} cannot be saved for its clones: {why}")
        self.line, self.qemu = _comparable(self._workspace, self._paths, planned)
        return _words(self._workspace, self._paths, self._paths, planned, share=True)


class FromMemory:
    """One start of a clone from its base's saved memory, if that fits. `fits` is known after `words`."""

    def __init__(self, workspace: Workspace, paths: MachinePaths, base: MachinePaths, report: Report) -> None:
        self._workspace, self._paths, self._base, self._report = workspace, paths, base, report
        self._saved = saved_memory.read(base)
        self.fits = False

    def words(self, planned: PlannedCommand) -> list[str]:
        """The further arguments for QEMU; none: it boots."""
        if self._saved is None:
            return []
        if why := self._why_not(self._saved, planned):
            note(self._report, f"{self._base.name} has saved memory, which does not fit, so {self._paths.name} boots: "
                               f"{why}")  # fmt: skip
            return []
        self.fits = True
        words = _words(self._workspace, self._paths, self._base, planned, share=False)
        return [*words, "-incoming", "defer", "-S"]

    def load(self) -> None:
        """Load the memory and resume the guest, if the memory fits."""
        if self.fits:
            saved_memory.load(self._paths, self._base)

    @property
    def rested_s(self) -> float:
        """How long the guest's clock has not run, in seconds."""
        return max(0.0, time.time() - self._saved.created_s) if self.fits and self._saved is not None else 0.0

    def _why_not(self, saved: saved_memory.MemoryRecord, planned: PlannedCommand) -> str | None:
        if saved.disks != saved_memory.disks_now(self._base):
            return f"a disk of {self._base.name} has been written to since then"
        line, qemu = _comparable(self._workspace, self._paths, planned)
        if qemu != saved.qemu:
            return f"it was saved by {saved.qemu}, and this is {qemu}"
        other = [word for word in line if word not in saved.command_line]
        gone = [word for word in saved.command_line if word not in line]
        if other or gone or tuple(line) != saved.command_line:
            now, then = " ".join(other[:2]) or "nothing", " ".join(gone[:2]) or "nothing"
            return f"it would be started with {now} in place of {then}"
        return None


def _words(
    workspace: Workspace, paths: MachinePaths, base: MachinePaths, planned: PlannedCommand, *, share: bool
) -> list[str]:
    size = memory_file.size_bytes(planned.overlaid.command_line) or 0
    # Only for Linux: macOS has no driver for the VM generation id, and how it reacts to the device is unknown.
    linux = workspace.spec(paths.name).upstream == TRIAL
    return memory_file.words(size, str(saved_memory.ram(base)), share=share, generation=linux)


def _comparable(workspace: Workspace, paths: MachinePaths, planned: PlannedCommand) -> tuple[list[str], str]:
    """The command line with placeholders for values of the one machine, and the QEMU's path and version."""
    kept = record.load(paths.record)
    own = {
        str(paths.directory): "folder",
        str(paths.runtime): "sockets",
        f"guest={paths.name}": "guest",  # not the bare name, which may be a part of other words
        name_of(paths.name): "process",
        kept.uuid: "uuid",
        kept.mac: "mac",
        f"127.0.0.1:{planned.ssh_port}": "ssh",
        sys.executable: "python",  # for Pommel's programs that QEMU starts; the guest does not see their path
        str(Path(pommel.__file__).parent): "pommel",
        **{text: "number" for text in (kept.serial, kept.mlb, kept.rom) if text},
    }
    line = planned.overlaid.command_line
    program = str(planned.qemu.path) if planned.qemu is not None else line.program
    version = ".".join(map(str, qemu_version(program, workspace.home.cache)))
    return memory_file.comparable(line.argv, own), f"{program} {version}"
