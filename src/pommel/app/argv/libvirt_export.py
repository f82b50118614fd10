"""A machine as a libvirt domain, for virt-manager and virsh. Band: app."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import Any

from pommel.app.argv.commandline import PlannedCommand, command_line
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.machine.libvirt.domain import LibvirtDomain, export
from pommel.machine.libvirt.draft import ArgumentFate, Outcome


@dataclass(frozen=True, slots=True)
class ExportedDomain:
    """A machine's domain; `warnings` are those of its command line."""

    name: str
    domain: LibvirtDomain
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The domain as one JSON object."""
        arguments = [asdict(each) for each in self.domain.account]
        return {"name": self.name, "xml": self.domain.xml, "arguments": arguments, "warnings": list(self.warnings)}

    def explained(self) -> list[tuple[str, str, str]]:
        """Rows of argument, what it becomes, and reason."""
        return [(each.argument, _becomes(each), each.reason) for each in self.domain.account]


def libvirt_domain(workspace: Workspace, name: str) -> ExportedDomain:
    """Write machine `name` as a libvirt domain; nothing is started or changed.

    Raises:
        UsageError: an argument of QEMU with which no equal domain can be written.
        UpstreamError, FirmwareError, MissingProgram: as `commandline.command_line`.
    """
    planned = command_line(workspace, name)
    return ExportedDomain(name, export(planned.overlaid.command_line, _emulator(planned)), planned.warnings)


def _emulator(planned: PlannedCommand) -> str:
    if planned.qemu is not None:
        return str(planned.qemu.path)
    program = planned.overlaid.command_line.program
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"{program} is not installed here", hint="pommel doctor")
    return found


def _becomes(fate: ArgumentFate) -> str:
    if fate.outcome is Outcome.ELEMENT:
        return fate.element
    is_changed = fate.outcome is Outcome.RAW and fate.element != fate.argument
    return f"{fate.outcome.value}: {fate.element}" if is_changed else fate.outcome.value
