"""`doctor --passthrough`, and the checks before a start with `vfio`. Band: app. It only looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.host import passthrough, pci_devices
from pommel.host.passthrough import Card, Host, PciFinding
from pommel.machine.spec import MachineSpec


def look(name: str | None = None, *, workspace: Workspace | None = None) -> dict[str, Any]:
    """The host's graphics cards, and the devices in the settings of machine `name`, as one JSON object.

    Raises:
        UsageError: there is no machine of that name.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name) if name else None
    host = pci_devices.read_host()
    wanted = [address.partition(",")[0] for address in spec.vfio] if spec else []
    missing = [address for address in wanted if address not in host.devices]
    cards = [*passthrough.cards(host), *_further(host, wanted)]
    return {
        "name": name,
        "host": _host_line(host),
        "findings": [asdict(each) for each in passthrough.about_host(host, spec.memory_bytes if spec else None)],
        "cards": [_as_dict(each, each.device.address in wanted) for each in cards],
        "not_there": missing,
    }


def must_start(spec: MachineSpec) -> None:
    """Check that every device in `vfio` can be given to the guest now.

    Raises:
        StateError: one does not exist or cannot be given; the hint says what to do.
    """
    if not spec.vfio:
        return
    host = pci_devices.read_host()
    for finding in passthrough.about_host(host, spec.memory_bytes):
        _refuse(spec, "the host", finding)
    for text in spec.vfio:
        address = text.partition(",")[0]
        if address not in host.devices:
            raise StateError(
                f"vfio names {address}, but this host has no such PCI device", hint="to list the devices: lspci"
            )
        for finding in passthrough.card(host, host.devices[address]).findings:
            _refuse(spec, address, finding)


def _refuse(spec: MachineSpec, what: str, finding: PciFinding) -> None:
    if finding.level == "fail":
        hint = finding.fix or f"pommel doctor {spec.name} --passthrough"
        raise StateError(f"{what} cannot be attached to {spec.name}: {finding.name}: {finding.text}", hint=hint)


def _further(host: Host, wanted: list[str]) -> Iterator[Card]:
    """The wanted devices that are neither a graphics card nor another function of its slot."""
    slots = {device.slot for device in host.devices.values() if device.is_gpu}
    for address in wanted:
        if address in host.devices and host.devices[address].slot not in slots:
            yield passthrough.card(host, host.devices[address])


def _host_line(host: Host) -> str:
    groups = {device.group for device in host.devices.values() if device.group is not None}
    return f"{len(host.devices)} PCI devices in {len(groups)} IOMMU groups"


def _as_dict(card: Card, wanted: bool) -> dict[str, Any]:
    device = card.device
    return {
        "pci_address": device.address,
        "description": device.name,
        "ids": device.ids,
        "driver": device.driver,
        "iommu_group": device.group,
        "functions": [each.address for each in card.functions],
        "others": [each.address for each in card.others],
        "resets": list(device.resets) if device.resets is not None else None,
        "rom_bytes": device.rom_bytes,
        "can_be_given": card.ready,
        "wanted": wanted,
        "setting": f"vfio = {[each.address[5:] for each in (device, *card.functions)]}".replace("'", '"'),
        "findings": [asdict(each) for each in card.findings],
    }
