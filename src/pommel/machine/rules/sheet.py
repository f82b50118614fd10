"""What a rule works on, and what it is told. Band: core, no I/O.

A rule takes a `Sheet` and gives a `Sheet`: its edits go through `add`, `change` and `remove`, each with a reason, so
no argument can change without saying why.
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
    """What was found out about the host; `accel_reason` is one line for the user."""

    accel: Literal["kvm", "tcg"]
    accel_reason: str
    qemu_version: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything of one machine is. Absolute paths; decided elsewhere."""

    guest_name: str
    upstream: str  # the folder that the script's relative paths start from
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
    installer: str | None = None  # None: there is none to attach
    installer_reason: str = ""  # why it is attached, or is not
    boot_disk: str | None = None  # None: the upstream's own
    boot_disk_reason: str = ""  # why not the upstream's, if so
    disk_format: str = "qcow2"
    firmware_reason: str = ""  # why another pair than the upstream's, if so
    data_disks: tuple[str, ...] = ()  # further disks of the machine (qcow2)
    facts: Facts = field(default_factory=dict)  # what was seen in the upstream's files
    disk_drive: str | None = None  # the upstream's drive that is the machine's, by id or file; None: find it
    disk_reason: str = ""  # whose disk it is, if not the machine's own
    boot_disk_format: str = "qcow2"  # of `boot_disk`
    drive_copies: Mapping[str, str] = field(default_factory=dict)  # upstream_files' key -> the machine's copy (qcow2)
    encrypted: bool = False  # whether the machine's disks are
    choice: BootChoice = ORDINARY  # what was chosen for this one start
    taken_macs: Mapping[str, str] = field(default_factory=dict)  # address -> another machine that has it
    passt: str | None = None  # the socket of passt, where it can be had
    forwards: tuple[Forward, ...] = ()  # ports of this host that lead into the guest, beside SSH's
    reverse: tuple[Reverse, ...] = ()  # services of this host that the guest is led to
    reverse_command: tuple[str, ...] = ()  # what leads one connection there; the guest's port is added
    usb: tuple[tuple[Match, Match], ...] = ()  # USB devices of this host: as asked for, and what QEMU is told
    usb_notes: tuple[str, ...] = ()  # what stands in their way now
    shares: tuple[Share, ...] = ()  # folders of this host that are asked for, by SMB
    nine: tuple[tuple[Share, str], ...] = ()  # those by 9p that can be had, each with its real path
    share_notes: tuple[str, ...] = ()  # which of them cannot be had now, and why
    share_command: tuple[str, ...] = ()  # what serves one connection of the guest's; empty: nothing here can


@dataclass(frozen=True, slots=True)
class Given:
    """All that a rule may ask."""

    spec: MachineSpec
    facts: HostFacts
    placement: Placement


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One edit: `before` is None for what was added, `after` for what was removed."""

    rule: str
    kind: Literal["added", "changed", "removed"]
    before: str | None
    after: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A command line under work, the rule at work, and what has been changed so far."""

    line: CommandLine
    rule: str = ""
    changes: tuple[RuleChange, ...] = ()
    warnings: tuple[str, ...] = ()

    def warn(self, text: str) -> Sheet:
        """Tell the user something before the machine starts."""
        return replace(self, warnings=(*self.warnings, text))

    def add(self, option: str, value: str | None, reason: str) -> Sheet:
        """Put an argument at the end."""
        new = Argument(option, value, self.rule, (Note(self.rule, reason),))
        change = RuleChange(self.rule, "added", None, new.text, reason)
        return replace(self, line=self.line.append(new), changes=(*self.changes, change))

    def change(
        self, old: Argument, value: str | SubOptions | Keyed | None, reason: str, *, option: str | None = None
    ) -> Sheet:
        """Give an argument another value, and perhaps another option; nothing happens when it reads the same."""
        text = value.render() if isinstance(value, SubOptions | Keyed) else value
        note = Note(self.rule, reason)
        new = replace(old, option=option or old.option, value=text, notes=(*old.notes, note), was=old.was or old.text)
        if new.words == old.words:
            return self
        change = RuleChange(self.rule, "changed", old.text, new.text, reason)
        return replace(self, line=self.line.replace(old, new), changes=(*self.changes, change))

    def note(self, old: Argument, reason: str) -> Sheet:
        """Say of an argument that stays as it is why it does."""
        new = replace(old, notes=(*old.notes, Note(self.rule, reason)))
        return replace(self, line=self.line.replace(old, new))

    def remove(self, old: Argument, reason: str) -> Sheet:
        """Take an argument out."""
        change = RuleChange(self.rule, "removed", old.text, None, reason)
        return replace(self, line=self.line.remove(old), changes=(*self.changes, change))

    def remove_all(self, olds: Iterable[Argument], reason: str) -> Sheet:
        """Take arguments out, all for the same reason."""
        sheet = self
        for old in olds:
            sheet = sheet.remove(old, reason)
        return sheet

    def put(self, name: str, value: str, reason: str) -> Sheet:
        """Make `value` the one value of option `name`: change the first, drop the others, or add it."""
        found = self.line.find(name)
        if not found:
            return self.add(f"-{name}", value, reason)
        return self.change(found[0], value, reason).remove_all(found[1:], reason)
