"""Attach and detach USB devices of this host, and give the user the right to open them. Band: app.

QEMU gets the device first; then it is written down for later starts, as with forwards. So a killed command may leave a
device that is attached until the machine stops; the same command again writes it down.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import locks
from pommel.app.host import setup
from pommel.app.usb import devices
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, MachineError, NotPermitted, PommelError, StateError, UsageError
from pommel.host import usb as host_usb
from pommel.host import usb_devices
from pommel.host.usb import UsbDevice
from pommel.machine import state, usb, usb_added, usb_plug
from pommel.machine.exclusive import serialised
from pommel.machine.usb import Match
from pommel.paths import MachinePaths
from pommel.process import run
from pommel.progress import Report, ignore, note, warn

_LOCK_WAIT_S = 30.0  # enough for a running start or stop to finish
_LIST = "pommel usb list"


@dataclass(frozen=True, slots=True)
class UsbPermission:
    """The udev rules for this user: the file, its text before and after, and the command that writes it as root."""

    path: Path
    before: str
    after: str
    script: str

    @property
    def lines(self) -> list[str]:
        """The new rules."""
        return [line for line in self.after.splitlines() if line not in self.before.splitlines()]


def attach(
    name: str,
    texts: Sequence[str],
    *,
    once: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
    root: Path = devices.SYSTEM,
) -> devices.Devices:
    """Attach devices to machine `name`: now if it runs, and at each start unless `once`.

    Raises:
        UsageError: a text names no device, or more than one.
        NotPermitted: this user may not open the device.
        StateError: the machine has not been made; it does not run, with `once`; it has no USB controller; the device's
            disk is mounted, or another machine has it.
        MachineError: QEMU refuses; the devices before it in `texts` stay attached.
    """
    workspace = workspace or Workspace.current()
    paths, there = workspace.made(name), usb_devices.read_devices(root)
    wanted = [named(text, there) for text in texts]
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        if once and not state.observe(paths).alive:
            raise StateError(f"{name} is not running", hint=f"pommel start {name}")
        for each in wanted:
            _put(workspace, name, each, there, report, root)
            kept = usb_added.load(paths)
            if not once and each not in kept and str(each) not in workspace.spec(name).usb:
                usb_added.save(paths, (*kept, each))
    return devices.listed(name, workspace=workspace, root=root)


def detach(
    name: str,
    texts: Sequence[str],
    *,
    once: bool = False,
    workspace: Workspace | None = None,
    root: Path = devices.SYSTEM,
) -> devices.Devices:
    """Detach devices: now if the machine runs, and for all later starts.

    With `once`, the next start attaches them again.

    Raises:
        UsageError: a text names no device; or the device is in the boot script, or in the settings without `once`.
        StateError: the machine has no such device.
        MachineError: QEMU refuses.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        for text in texts:
            row = _must_have(devices.listed(name, workspace=workspace, root=root), text)
            if row.origin == devices.SCRIPT:
                raise UsageError(f"usb {row.usb_device} is set in the boot script", hint="change it with a patch")
            each = usb.parse_device(row.usb_device)
            if row.origin == devices.SETTINGS and not once:
                now = f"; --once removes it from the running {name}" if row.live else ""
                hint = f"{devices.give_up(name, row.origin, each)}{now}"
                raise UsageError(f"usb {each} is set in the settings of {name}", hint=hint)
            held = devices.look(paths, alive=row.live).held
            if any(usb.asked_by(other.device_id) == each for other in held):  # if not, the boot script attached it
                usb_plug.remove(paths, each.device_id)
            kept = usb_added.load(paths)
            if not once and each in kept:
                usb_added.save(paths, [other for other in kept if other != each])
    return devices.listed(name, workspace=workspace, root=root)


def named(text: str, there: tuple[UsbDevice, ...]) -> Match:
    """The device for a text: its ids, its path, its serial number, or a part of its name.

    Raises:
        UsageError: the text matches none, or more than one.
    """
    try:
        wanted = usb.parse_device(text)
    except ValueError as error:
        return _by_name(text, there, str(error))
    same = devices.plugged(wanted, there)
    if len(same) > 1:
        places = ", ".join(each.path for each in same)
        raise UsageError(f"{len(same)} devices are {wanted}: {places}", hint=f"give its path, such as {same[0].path}")
    return wanted


def _by_name(text: str, there: tuple[UsbDevice, ...], otherwise: str) -> Match:
    found = host_usb.named(there, text)
    if not found:
        raise UsageError(
            f"this host has no USB device {text!r}; for a device that is not plugged in, give {otherwise}", hint=_LIST
        )
    if len(found) > 1:
        raise UsageError(f"{text!r} may be {' or '.join(map(str, found))}", hint="give its path")
    only = found[0]
    alone = only.vendor and only.product and len([each for each in there if each.ids == only.ids]) == 1
    return Match(only.vendor, only.product) if alone else Match(bus=only.bus, port=only.port)


def _put(
    workspace: Workspace, name: str, wanted: Match, there: tuple[UsbDevice, ...], report: Report, root: Path
) -> None:
    paths, match = workspace.paths(name), devices.told_to_qemu(wanted, there)
    alive = state.observe(paths).alive
    ports, present = devices.look(paths, alive=alive), devices.plugged(match, there)
    mine = next((each for each in ports.held if usb.asked_by(each.device_id) == wanted), None)
    in_guest = any(holder.pid == locks.holder(paths.pidfile) for device in present for holder in device.holders)
    if mine is not None and (in_guest or not present):
        return
    for other in ports.held:
        if other != mine and (other.match == match or set(present) & set(devices.plugged(other.match, there))):
            raise StateError(f"{name} already has {wanted}, by {other.match}", hint=f"{_LIST} {name}")
    refuse_taken(workspace, name, wanted, root)
    for device in present:
        _refuse(wanted, device)
        for finding in host_usb.findings(device, usb_devices.muxers(root)):
            warn(report, f"{device}: {finding.text}" + (f"; {finding.fix}" if finding.fix else ""))
    if not present:
        note(report, f"{wanted} is not plugged in; it is attached when it is plugged in")
    if alive and mine is not None:  # QEMU stops trying after three failures to open it, so it is added again
        usb_plug.remove(paths, wanted.device_id)
    if alive:
        _plug(paths, wanted, match, ports.controllers, present, report)
    if match != wanted:
        note(
            report,
            f"{wanted} is followed at {match.bus}-{match.port} when it changes its mode; in another port, attach it "
            "again",
        )


def _plug(
    paths: MachinePaths,
    wanted: Match,
    match: Match,
    controllers: tuple[usb.Controller, ...],
    present: tuple[UsbDevice, ...],
    report: Report,
) -> None:
    controller = usb.fastest(controllers)
    if controller is None:
        raise StateError(
            f"{paths.name} has no USB controller for {wanted}",
            hint=f'set qemu_args = ["-device", "qemu-xhci,id=xhci"] in [machine.{paths.name}], and restart it',
        )
    for device in present:
        if device.speed_mbps > controller.mbps:
            slower = f"{controller.name} of {paths.name} supports {controller.mbps:g} Mb/s at most"
            text = f"{device} has {device.speed_mbps:g} Mb/s, and {slower}"
            warn(report, f"{text}: the guest may not see it; qemu-xhci supports every speed")
    bus = {"bus": controller.bus} if controller.bus else {}
    try:
        usb_plug.add(paths, wanted.device_id, {**match.properties(), **bus})
    except MachineError as said:
        if "is not a valid device model name" in said.message:
            raise MachineError("this QEMU was built without usb-host", hint="install a QEMU with libusb") from said
        raise


def refuse_taken(workspace: Workspace, name: str, wanted: Match, root: Path = devices.SYSTEM) -> None:
    """Refuse a device that another machine than `name` has now.

    Raises:
        StateError: a machine has it; the message names it.
    """
    there = usb_devices.read_devices(root)
    running = devices.pids(workspace)
    for device in devices.plugged(devices.told_to_qemu(wanted, there), there):
        for holder in device.holders:
            if (other := running.get(holder.pid)) is not None and other != name:
                raise StateError(
                    f"{device} is attached to {other}, which is running", hint=f"pommel usb detach {other} {wanted}"
                )


def _refuse(wanted: Match, device: UsbDevice) -> None:
    for finding in host_usb.findings(device):
        if finding.name == "disk":
            raise StateError(f"{device}: {finding.text}", hint=finding.fix)
        if finding.name == "rights":
            raise NotPermitted(f"{device}: {finding.text}", hint=f"pommel usb permit {wanted}")


def _must_have(told: devices.Devices, text: str) -> devices.UsbRow:
    try:
        said = str(usb.parse_device(text))
    except ValueError:
        small = text.casefold()
        found = [row for row in told.usb if small and (row.usb_device == text or small in row.description.casefold())]
    else:
        found = [row for row in told.usb if row.usb_device == said] or [
            row for row in told.usb if said in (row.usb_path, row.ids)
        ]
    if len(found) > 1:
        raise UsageError(f"{text!r} may be {' or '.join(row.usb_device for row in found)}", hint="say which")
    if not found:
        known = ", ".join(row.usb_device for row in told.usb) or "none"
        raise StateError(f"{told.name} has no USB device {text}", hint=f"it has {known}: pommel usb list {told.name}")
    return found[0]


def permission(texts: Sequence[str], *, root: Path = devices.SYSTEM) -> UsbPermission:
    """Work out the udev rules that let this user open the devices. Nothing is written.

    Raises:
        UsageError: a text names no device, or more than one.
        NotPermitted: the existing file cannot be read.
    """
    there = usb_devices.read_devices(root)
    wanted = [named(text, there) for text in texts]
    # With sudo, the rules are for the user who typed it, not for root.
    uid = int(os.environ.get("SUDO_UID", os.geteuid())) if os.geteuid() == 0 else os.geteuid()
    path = root / host_usb.RULES
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    except (OSError, ValueError) as wrong:
        raise NotPermitted(
            f"{path} cannot be read: {wrong}", hint=f"check the file, and move it away: {path}"
        ) from wrong
    rules = [host_usb.rule(each.vendor, each.product, each.bus, each.port, uid) for each in wanted]
    after = host_usb.with_rules(before, rules)
    quoted = shlex.quote(str(path))
    script = (
        f"mkdir -p {shlex.quote(str(path.parent))} && printf %s {shlex.quote(after)} >{quoted}.new"
        f" && chmod 644 {quoted}.new && mv -T {quoted}.new {quoted}"
        " && udevadm control --reload && udevadm trigger --subsystem-match=usb --action=change"
    )
    return UsbPermission(path, before, after, script)


def permit(wanted: UsbPermission, *, run_as_root: Callable[[Sequence[str]], object] | None = None) -> None:
    """Write the rules, and let udev apply them to the plugged-in devices.

    `run_as_root` runs a command as root. The default is sudo, or nothing if this process is root.

    Raises:
        MissingProgram: there is no sudo.
        CommandFailed: the command failed, or sudo refused.
    """
    if not wanted.lines:
        return
    words = ["sh", "-c", wanted.script]
    if run_as_root is not None:
        run_as_root(words)
    elif os.geteuid() != 0:
        setup.sudo(words)
    else:
        done = run(words, check=False, timeout_s=60)
        if done.returncode != 0:
            raise CommandFailed(words, done.returncode, done.output, hint=f"it was: {wanted.script}")


def withdraw(
    *, run_as_root: Callable[[Sequence[str]], object], report: Report = ignore, root: Path = devices.SYSTEM
) -> None:
    """Remove the rules that `permit` wrote. If that fails, warn with the command to type."""
    path = root / host_usb.RULES
    try:
        ours = path.read_text(encoding="utf-8").startswith(host_usb.HEADER)
    except (OSError, ValueError):
        return
    if ours:
        try:
            run_as_root(["rm", "-f", str(path)])
        except PommelError as failure:
            warn(report, f"{failure.message}: {path} stays; sudo rm {shlex.quote(str(path))}")
