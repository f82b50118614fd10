"""The input and output of a rule. Band: core, no I/O.

A rule takes a `Sheet` and returns a `Sheet`: its edits go through `add`, `change` and `remove`, each with a reason, so
that every change of an argument has a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pommel.machine.boot_choices import ORDINARY, BootChoice
from pommel.machine.commandline import Argument, CommandLine, Note
from pommel.machine.disk_facts import Facts
from pommel.machine.forwards import Forward, Reverse
from pommel.machine.keyed import Keyed
from pommel.machine.shares import Share
from pommel.machine.spec import MachineSpec
from pommel.machine.suboptions import SubOptions
from pommel.machine.usb import Match


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The facts about the host; `accel_reason` is one line for the user."""

    accel: Literal["kvm", "tcg"]
    accel_reason: str
    qemu_version: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """The paths and values of one machine. Paths are absolute; other modules decide them."""

    guest_name: str
    upstream: str  # the folder of the script's relative paths
    disk: str
    nvram: str
    firmware_code: str | None  # None: the upstream has no flash drive with code of its own
    vnc: str
    qmp: str
    qmp_watch: str
    pidfile: str
    serial_log: str
    uuid: str
    mac: str
    ssh_port: int
    installer: str | None = None  # None: no installer to attach
    installer_reason: str = ""  # why it is attached, or is not
    boot_disk: str | None = None  # None: the upstream's own
    boot_disk_reason: str = ""  # why it is not the upstream's, if so
    disk_format: str = "qcow2"
    firmware_reason: str = ""  # why it is not the upstream's pair, if so
    data_disks: tuple[str, ...] = ()  # further disks of the machine (qcow2)
    facts: Facts = field(default_factory=dict)  # the results of the inspection of the upstream's files
    disk_drive: str | None = None  # the upstream's drive for the machine's disk, by id or file; None: find it
    disk_reason: str = ""  # whose disk it is, if it is not the machine's own
    boot_disk_format: str = "qcow2"  # of `boot_disk`
    drive_copies: Mapping[str, str] = field(default_factory=dict)  # upstream_files' key -> the machine's copy (qcow2)
    encrypted: bool = False  # whether the machine's disks are encrypted
    choice: BootChoice = ORDINARY  # the choices for this one start
    taken_macs: Mapping[str, str] = field(default_factory=dict)  # address -> another machine that has it
    passt: str | None = None  # the socket of passt, if it is available
    forwards: tuple[Forward, ...] = ()  # ports of this host that are forwarded into the guest, beside SSH's
    reverse: tuple[Reverse, ...] = ()  # services of this host that the guest can reach
    reverse_command: tuple[str, ...] = ()  # the program for one such connection; the guest's port is added
    usb: tuple[tuple[Match, Match], ...] = ()  # USB devices of this host: as configured, and as QEMU gets them
    usb_notes: tuple[str, ...] = ()  # present obstacles for them
    shares: tuple[Share, ...] = ()  # configured folders of this host, by SMB
    nine: tuple[tuple[Share, str], ...] = ()  # available ones by 9p, each with its real path
    share_notes: tuple[str, ...] = ()  # which of them are not available now, and why
    share_command: tuple[str, ...] = ()  # the program for one connection of the guest; empty: none is available


@dataclass(frozen=True, slots=True)
class RuleInput:
    """All input of a rule."""

    spec: MachineSpec
    facts: HostFacts
    placement: Placement


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One edit: `before` is None for an addition, `after` for a removal."""

    rule: str
    kind: Literal["added", "changed", "removed"]
    before: str | None
    after: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A command line in progress, the present rule, and the changes so far."""

    line: CommandLine
    rule: str = ""
    changes: tuple[RuleChange, ...] = ()
    warnings: tuple[str, ...] = ()

    def warn(self, text: str) -> Sheet:
        """Show the user a warning before the machine starts."""
        return replace(self, warnings=(*self.warnings, text))

    def add(self, option: str, value: str | None, reason: str) -> Sheet:
        """Add an argument at the end."""
        new = Argument(option, value, self.rule, (Note(self.rule, reason),))
        change = RuleChange(self.rule, "added", None, new.text, reason)
        return replace(self, line=self.line.append(new), changes=(*self.changes, change))

    def change(
        self, old: Argument, value: str | SubOptions | Keyed | None, reason: str, *, option: str | None = None
    ) -> Sheet:
        """Give an argument another value, and perhaps another option; an unchanged argument makes no change."""
        text = value.render() if isinstance(value, SubOptions | Keyed) else value
        note = Note(self.rule, reason)
        new = replace(old, option=option or old.option, value=text, notes=(*old.notes, note), was=old.was or old.text)
        if new.words == old.words:
            return self
        change = RuleChange(self.rule, "changed", old.text, new.text, reason)
        return replace(self, line=self.line.replace(old, new), changes=(*self.changes, change))

    def note(self, old: Argument, reason: str) -> Sheet:
        """Add the reason why an argument is not changed."""
        new = replace(old, notes=(*old.notes, Note(self.rule, reason)))
        return replace(self, line=self.line.replace(old, new))

    def remove(self, old: Argument, reason: str) -> Sheet:
        """Remove an argument."""
        change = RuleChange(self.rule, "removed", old.text, None, reason)
        return replace(self, line=self.line.remove(old), changes=(*self.changes, change))

    def remove_all(self, olds: Iterable[Argument], reason: str) -> Sheet:
        """Remove arguments, all for the same reason."""
        sheet = self
        for old in olds:
            sheet = sheet.remove(old, reason)
        return sheet

    def put(self, name: str, value: str, reason: str) -> Sheet:
        """Make `value` the only value of option `name`: change the first, remove the others, or add it."""
        found = self.line.find(name)
        if not found:
            return self.add(f"-{name}", value, reason)
        return self.change(found[0], value, reason).remove_all(found[1:], reason)
