"""A machine as a libvirt domain, for virt-manager and virsh. Band: app."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import Any

from pommel.app.argv.commandline import PlannedCommand, command_line
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.machine.libvirt.domain import LibvirtDomain, export


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
