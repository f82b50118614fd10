"""The USB devices of a running QEMU: lists controllers, adds and removes a device. Band: shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel.errors import MachineError
from pommel.machine import qmp, usb
from pommel.machine.usb import Controller, Match
from pommel.paths import MachinePaths

_ASK_S = 5.0
_FOLDERS = ("/machine/peripheral", "/machine/peripheral-anon")  # devices with an id, and those without


@dataclass(frozen=True, slots=True)
class PluggedUsb:
    """One `usb-host` of QEMU: its id (may be empty) and the device that it attaches, now or when it is plugged in."""

    device_id: str
    match: Match


@dataclass(frozen=True, slots=True)
class Ports:
    """The controllers and the attached devices of a running machine."""

    controllers: tuple[Controller, ...]
    held: tuple[PluggedUsb, ...]


def look(paths: MachinePaths) -> Ports:
    """Ask QEMU for its USB controllers, and for the devices of the host that it attaches.

    Raises:
        StateError, MachineError, DeadlineError: QEMU cannot be asked.
    """

    async def ask(monitor: qmp.Qmp) -> Ports:
        return Ports(usb.in_pci(await monitor.execute("query-pci")), await held(monitor))

    return qmp.run(qmp.within(paths.qmp, _ASK_S, ask))


async def held(monitor: qmp.Qmp) -> tuple[PluggedUsb, ...]:
    """The devices of the host that QEMU attaches, whether or not they are plugged in.

    Raises:
        MachineError, DeadlineError: QEMU cannot be asked.
    """
    found = []
    for folder in _FOLDERS:
        for child in await monitor.execute("qom-list", {"path": folder}):
            if child["type"] == f"child<{usb.DRIVER}>":
                named = str(child["name"]) if folder == _FOLDERS[0] else ""
                found.append(PluggedUsb(named, await _match(monitor, f"{folder}/{child['name']}")))
    return tuple(found)


def add(paths: MachinePaths, device_id: str, properties: Mapping[str, object], *, driver: str = usb.DRIVER) -> None:
    """Attach a device; the guest can see it at the return, or a device of the host as soon as it is plugged in there.

    Raises:
        MachineError: QEMU refuses it; the message is QEMU's.
        StateError, DeadlineError: QEMU cannot be asked.
    """
    arguments = {"driver": driver, "id": device_id, **properties}
    _do(paths, "device_add", arguments)


def remove(paths: MachinePaths, device_id: str) -> None:
    """Unplug the device with this id in QEMU. USB devices are removed at once, without the guest's consent.

    Raises:
        MachineError: QEMU refuses it; the message is QEMU's.
        StateError, DeadlineError: QEMU cannot be asked.
    """
    _do(paths, "device_del", {"id": device_id})


def _do(paths: MachinePaths, command: str, arguments: dict[str, object]) -> None:
    async def ask(monitor: qmp.Qmp) -> Any:
        return await monitor.execute(command, arguments)

    qmp.run(qmp.within(paths.qmp, _ASK_S, ask))


async def _match(monitor: qmp.Qmp, path: str) -> Match:
    values: dict[str, Any] = {}
    for key in ("vendorid", "productid", "hostbus", "hostport", "hostaddr"):
        try:
            values[key] = await monitor.execute("qom-get", {"path": path, "property": key})
        except MachineError:  # it was removed meanwhile
            values[key] = None
    vendor, product, bus = (int(values[key] or 0) for key in ("vendorid", "productid", "hostbus"))
    # A boot script may name a device by its number on the bus, which a replug changes; no port has such a name.
    place = str(values["hostport"] or "") or (f"address {values['hostaddr']}" if values["hostaddr"] else "")
    return Match(vendor, product, bus, place)
