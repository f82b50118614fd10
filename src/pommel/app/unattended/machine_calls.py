"""The calls of the recipe for an unattended installation: the starts of its machine for each stage. Band: app.

Each can be repeated: nothing is done if the machine already runs in the way that the stage needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pommel.app.disk import snapshots
from pommel.app.machine import power
from pommel.app.recipe.run import Calls
from pommel.app.unattended import hearing, kept, script_disk
from pommel.app.unattended.kept import Kept
from pommel.app.unattended.script_disk import Stage
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError
from pommel.machine import record, state
from pommel.machine.boot_choices import BootChoice
from pommel.machine.exclusive import serialised
from pommel.paths import MachinePaths
from pommel.progress import Report, warn
from pommel.unattended.scripts import Reporting

SNAPSHOT = "installed"
_HOST = "10.0.2.2"  # this host's loopback, as QEMU's user-mode network has it
_RECOVERY = BootChoice(installer="yes", shows="recovery")
_MACOS = BootChoice(installer="no", shows="macos")


@dataclass
class InstalledMachine:
    """The machine of an installation. `renewed`: the user gave the account again, so the script disk is out of date."""

    workspace: Workspace
    paths: MachinePaths
    kept: Kept
    renewed: bool
    report: Report

    def calls(self) -> Calls:
        """The calls by the names that recipes use."""
        return {
            "unattended-install": partial(self._recovery, "install"),
            "unattended-again": self._again,
            "unattended-macos": self._macos,
            "unattended-provision": self._provision,
            "unattended-first-start": self._first_start,
        }

    def _again(self) -> None:
        self._end()
        self._keep(again=True)
        self._recovery("install")

    def _provision(self) -> None:
        if self.renewed:
            self._end()
            self.renewed = False
        self._recovery("provision")

    def _recovery(self, stage: Stage) -> None:
        if self._runs("recovery"):
            return
        path, user = kept.disk_of(self.paths), self.kept.account
        target, more = script_disk.target_of(self.paths), tuple[str, ...]()
        if stage == "install" and self.kept.full_installer:
            target, more = script_disk.with_full_installer(self.workspace, self.paths.name, target)
        script_disk.write(
            path,
            stage,
            target,
            Reporting(f"{_HOST}:{self.kept.port}", self.kept.token),
            user.wishes if stage == "provision" else script_disk.NOBODY[0],
            user.record(record.load(self.paths.record).uuid) if stage == "provision" else script_disk.NOBODY[1],
            licence_accepted=True,
            again=self.kept.again,
        )
        # -no-reboot: the installer's restart ends QEMU, because the next stage needs a start with another boot disk.
        self._start(_RECOVERY, ["-no-reboot", *script_disk.attached(path), *more])

    def _macos(self) -> None:
        self._keep(again=False)
        if not self._runs("macos"):
            self._start(_MACOS, ["-qmp", f"unix:{hearing.socket_of(self.paths)},server=on,wait=off"])

    def _first_start(self) -> None:
        """Finish: set the record, save a snapshot and start macOS.

        The machine may run, if a person finished by hand.
        """
        self._settle()
        if state.observe(self.paths).alive:
            return
        if self.kept.snapshot:
            self._save_snapshot()
        self._start(_MACOS, [])

    def _settle(self) -> None:
        """Store in the machine's record that macOS is installed, and its user."""
        with serialised(self.paths, wait_s=power.START_WAIT_S):
            known = record.load(self.paths.record)
            settings = {**(known.settings or {}), "ssh_user": self.kept.account.wishes.user}
            record.save(self.paths.record, replace(known, installed=True, settings=settings))

    def _save_snapshot(self) -> None:
        name = self.paths.name
        try:
            if SNAPSHOT not in {each.tag for each in snapshots.list_snapshots(name, workspace=self.workspace)}:
                snapshots.save(name, SNAPSHOT, workspace=self.workspace, report=self.report)
        except PommelError as failure:  # the snapshot is only an extra, so the installation continues
            warn(self.report, f"no snapshot {SNAPSHOT!r} of {name}: {failure.message}")

    def _start(self, choice: BootChoice, more: Sequence[str]) -> None:
        name, flags = self.paths.name, dict(self.kept.flags)
        given: dict[str, Any] = flags
        if more:
            own = self.workspace.spec(name, flags).qemu_args
            given = {**flags, "qemu_args": [*own, *more]}
        power.start(name, workspace=self.workspace, flags=given, choice=choice, report=self.report)

    def _runs(self, shows: Literal["recovery", "macos"]) -> bool:
        """Whether it runs already in the way that this stage needs.

        Raises:
            StateError: it runs in another way.
        """
        if not state.observe(self.paths).alive:
            return False
        if power.last_choice(self.paths).shows != shows:
            raise StateError(
                f"{self.paths.name} runs, and was not started for this part of the installation",
                hint=f"pommel stop {self.paths.name}, then pommel up {self.paths.name} --unattended",
            )
        return True

    def _end(self) -> None:
        if state.observe(self.paths).alive:
            power.stop(self.paths.name, workspace=self.workspace, force=True, report=self.report)

    def _keep(self, *, again: bool) -> None:
        if again != self.kept.again:
            self.kept = replace(self.kept, again=again)
            kept.save(self.paths, self.kept)
