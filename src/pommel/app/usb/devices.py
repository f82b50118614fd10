"""The USB devices of this host that machines get. Band: app.

They are in pommel.toml (`usb`) or were added by command (`pommel usb attach`); both are attached at each start. For a
running machine, QEMU is asked, and its answer counts. QEMU waits for a device that is not plugged in, and attaches it
again after a replug.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.host import usb as host_usb
from pommel.host import usb_devices
from pommel.host.usb import UsbDevice
from pommel.host.usb import UsbFinding as UsbFinding
from pommel.machine import state, usb, usb_added, usb_plug
from pommel.machine.spec import MachineSpec
from pommel.machine.usb import Match
from pommel.paths import MachinePaths

SETTINGS, ADDED, SCRIPT, ONCE = "settings", "added", "boot script", "once"
SYSTEM = Path("/")


@dataclass(frozen=True, slots=True)
class RequestedUsb:
    """The wanted devices, those of the settings first. `origins` says where each is from."""

    devices: tuple[Match, ...] = ()
    origins: Mapping[Match, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsbRow:
    """One device of a machine. `live`: the running QEMU attaches it when it is plugged in.

    `in_guest`: it has it now.
    """

    usb_device: str  # as the setting spells it
    origin: str  # settings, added, boot script or once
    live: bool
    in_guest: bool
    usb_path: str | None  # the bus and port; None: it is not plugged in
    ids: str | None  # of the plugged-in device, because an iPhone changes its product id
    description: str
    findings: tuple[UsbFinding, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The device as a JSON object."""
        return {**asdict(self), "findings": list(map(asdict, self.findings))}


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices and the USB controllers of a machine."""

    name: str
    state: str
    controllers: tuple[str, ...]
    usb: tuple[UsbRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """The devices as one JSON object."""
        return {
            "name": self.name,
            "state": self.state,
            "controllers": list(self.controllers),
            "usb": [row.as_dict() for row in self.usb],
        }


@dataclass(frozen=True, slots=True)
class OnHost:
    """One device of this host, and the machine that has it now, if any."""

    device: UsbDevice
    machine: str | None
    findings: tuple[UsbFinding, ...]

    def as_dict(self) -> dict[str, Any]:
        """The device as a JSON object."""
        return {
            "usb_path": self.device.path,
            "ids": self.device.ids,
            "description": self.device.name,
            "serial": self.device.serial or None,
            "speed_mbps": self.device.speed_mbps,
            "drivers": list(self.device.drivers),
            "may_open": self.device.may_open,
            "machine": self.machine,
            "findings": list(map(asdict, self.findings)),
        }


def on_host(*, workspace: Workspace | None = None, root: Path = SYSTEM) -> tuple[OnHost, ...]:
    """The USB devices of this host without hubs, each with the reasons against attaching it to a machine."""
    workspace = workspace or Workspace.current()
    running = pids(workspace)
    muxers = usb_devices.muxers(root)
    found = []
    for device in usb_devices.read_devices(root):
        pid = next((each.pid for each in device.holders if each.pid in running), None)
        findings = tuple(host_usb.findings(device, muxers, ours=pid))
        found.append(OnHost(device, running.get(pid or 0), findings))
    return tuple(found)


def pids(workspace: Workspace) -> dict[int, str]:
    """The pids of the running QEMUs, each with its machine's name."""
    found = {locks.holder(workspace.paths(name).pidfile): name for name in workspace.home.names()}
    return {pid: name for pid, name in found.items() if pid is not None}


def requested(workspace: Workspace, spec: MachineSpec) -> RequestedUsb:
    """The devices wanted for machine `spec.name`, by its settings and by command.

    Raises:
        MachineError: the file of the devices added by command cannot be read.
    """
    more = usb_added.load(workspace.paths(spec.name))
    said = tuple(map(usb.parse_device, spec.usb))
    return RequestedUsb(
        tuple(dict.fromkeys((*said, *more))), dict.fromkeys(more, ADDED) | dict.fromkeys(said, SETTINGS)
    )


def placed(workspace: Workspace, spec: MachineSpec, *, root: Path = SYSTEM) -> dict[str, Any]:
    """The values for the USB rule, by the field names of `Placement`.

    Raises:
        MachineError: the file of the devices added by command cannot be read.
    """
    wanted = requested(workspace, spec).devices
    if not wanted:
        return {}
    there, muxers = usb_devices.read_devices(root), usb_devices.muxers(root)
    told, notes = [], []
    for each in wanted:
        match = told_to_qemu(each, there)
        told.append((each, match))
        for device in plugged(match, there):
            in_the_way = [f for f in host_usb.findings(device, muxers) if f.level == "fail" or f.name in _TAKERS]
            notes += [f"usb {each}: {finding.text}; {finding.fix}" for finding in in_the_way]
    return {"usb": tuple(told), "usb_notes": tuple(notes)}


_TAKERS = ("usbmuxd", "program")


def told_to_qemu(wanted: Match, there: tuple[UsbDevice, ...]) -> Match:
    """The properties by which QEMU's `usb-host` looks for the device.

    An iPhone changes its product id during a restore. So one that is plugged in is identified by its bus and port.
    """
    phone = host_usb.followed(there, wanted.vendor, wanted.product)
    return Match(vendor=phone.vendor, bus=phone.bus, port=phone.port) if phone is not None else wanted


def plugged(match: Match, there: tuple[UsbDevice, ...]) -> tuple[UsbDevice, ...]:
    """The devices of this host that match."""
    return host_usb.found(there, match.vendor, match.product, match.bus, match.port)


def listed(name: str, *, must_answer: bool = True, workspace: Workspace | None = None, root: Path = SYSTEM) -> Devices:
    """The devices of machine `name`: those that are wanted, and those that its QEMU has.

    Without `must_answer`, a QEMU that does not answer counts as one without devices.

    Raises:
        StateError: it has not been made.
        MachineError, DeadlineError: QEMU cannot be asked, or the file of added devices cannot be read.
    """
    workspace = workspace or Workspace.current()
    spec, paths = workspace.spec(name), workspace.made(name)
    seen, wanted = state.observe(paths), requested(workspace, spec)
    ports = look(paths, alive=seen.alive, must_answer=must_answer)
    held = {usb.asked_by(each.device_id) or each.match: each for each in ports.held}
    if not wanted.devices and not held:
        return Devices(name, str(seen.state), tuple(each.name for each in ports.controllers), ())
    there, muxers = usb_devices.read_devices(root), usb_devices.muxers(root)
    origins = dict(wanted.origins)
    for match, each in held.items():
        origins.setdefault(match, ONCE if usb.asked_by(each.device_id) else SCRIPT)
    pid = locks.holder(paths.pidfile)
    rows = [_row(match, origin, held.get(match), there, muxers, pid) for match, origin in sorted(origins.items())]
    return Devices(name, str(seen.state), tuple(each.name for each in ports.controllers), tuple(rows))


def look(paths: MachinePaths, *, alive: bool, must_answer: bool = True) -> usb_plug.Ports:
    """The USB devices and controllers of the running machine; none if it does not run.

    Raises:
        MachineError, DeadlineError: QEMU cannot be asked, and must answer.
    """
    if alive:
        try:
            return usb_plug.look(paths)
        except PommelError:
            if must_answer:
                raise
    return usb_plug.Ports((), ())


def _row(
    match: Match,
    origin: str,
    held: usb_plug.PluggedUsb | None,
    there: tuple[UsbDevice, ...],
    muxers: tuple[str, ...],
    pid: int | None,
) -> UsbRow:
    found = plugged(held.match if held is not None else told_to_qemu(match, there), there)
    mine = [each for each in found if pid is not None and any(holder.pid == pid for holder in each.holders)]
    device = next(iter((*mine, *found)), None)
    return UsbRow(
        str(match),
        origin,
        held is not None,
        bool(mine),
        device.path if device else None,
        device.ids if device else None,
        device.name if device else "",
        tuple(host_usb.findings(device, muxers, ours=pid)) if device else (),
    )


def give_up(name: str, origin: str, each: Match) -> str:
    """What to type or change so that a wanted device is no longer attached."""
    if origin == ADDED:
        return f"pommel usb detach {name} {each}"
    return f"change usb in [machine.{name}] (pommel config {name} says where that is)"


def checks(
    workspace: Workspace, spec: MachineSpec, *, root: Path = SYSTEM
) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: whether each wanted device is plugged in, may be opened, and is in the running guest."""
    paths = workspace.paths(spec.name)
    if not paths.record.exists() or not requested(workspace, spec).devices:
        return
    told = listed(spec.name, workspace=workspace, root=root)
    runs = state.observe(paths).alive
    for row in told.usb:
        what = f"usb {row.usb_device}"
        if row.usb_path is None:
            yield "usb", "ok", f"{what} is not plugged in; it is attached when it is plugged in", None
        elif row.in_guest:
            yield "usb", "ok", f"{what} ({row.description or row.ids}) is in the guest", None
        elif runs and not row.live:
            yield "usb", "warn", f"{what} is set, but not attached yet", f"pommel restart {spec.name}"
        else:
            yield "usb", "ok", f"{what} ({row.description or row.ids}) is at {row.usb_path}", None
        for finding in row.findings if not row.in_guest else ():
            yield "usb", "warn", f"{what}: {finding.text}", finding.fix
