"""The rules for the host's folders that the guest sees: `shares` for SMB, `devices` for 9p. Band: core, no I/O.

QEMU starts a program for each connection to the file server's address in its user-mode network. It only accepts this
option at its start, so the option is set on every machine that could share folders later. If the boot script has its
own file server there (`smb=`, or a guestfwd for SMB's port), that stays.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.errors import ConfigError
from pommel.machine.commandline import CommandLine
from pommel.machine.keyed import Keyed
from pommel.machine.networks import links, with_forwards
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.shares import PORT, Share
from pommel.machine.suboptions import SubOptions, escape

_NET = "10.0.2.0/24"  # QEMU's default
_SERVER = 4  # the last number of the address, as for QEMU's own smb= (net/slirp.c)
_ID = "pommel-9p-"


@dataclass(frozen=True, slots=True)
class NinePDevice:
    """A folder that QEMU serves by 9p: its tag, its real path, and whether it is read-only for the guest."""

    name: str
    folder: str
    read_only: bool


def shares(sheet: Sheet, given: RuleInput) -> Sheet:
    """Connect the first user-mode network to the folders that are shared, or may be shared later.

    Raises:
        ConfigError: folders are configured, but the machine has no such network, or it has another file server.
    """
    place = given.placement
    for note in place.share_notes:
        sheet = sheet.warn(note)
    if not place.share_command:
        return sheet
    found = [each.backend for each in links(sheet.line) if each.kind == "user" and each.backend is not None]
    if not found:
        if place.shares:
            raise ConfigError(
                f"share {place.shares[0]} takes QEMU's own user-mode network, and {place.guest_name} has "
                f"network = {given.spec.network or 'none'}",
                hint='set network = "user"; or copy by pommel scp, or serve the folder by a program of your own',
            )
        return sheet
    for backend in found:
        if said := own_server(with_forwards(backend)):
            if place.shares:
                raise ConfigError(
                    f"share {place.shares[0]}: the boot script has a file server of its own: {said}",
                    hint="take it out of the boot script by a patch, or share by that one",
                )
            return sheet.note(backend, f"the boot script's own file server stays: {said}")
    before = with_forwards(found[0])
    address = _address(before)
    if address is None:
        return sheet
    rule = f"tcp:{address}:{PORT}-cmd:{shlex.join(place.share_command)}"
    reason = "folders of this host for the guest, at each connection those that are shared then"
    return sheet.change(found[0], before.with_pairs((*before.pairs, ("guestfwd", rule))), reason)


def devices(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add a 9p device for each folder that is shared so. They come last, and change no other device's slot.

    Raises:
        ConfigError: the command line already has a device with that tag.
    """
    there = set(_tags(sheet.line))
    for share, folder in given.placement.nine:
        if share.name in there:
            raise ConfigError(
                f"share {share}: the command line has a 9p device called {share.name} already",
                hint="call one of them otherwise; or leave that one alone, and share nothing by its name",
            )
        reason = f"asked for: share {share}"
        sheet = sheet.add("-fsdev", fsdev(share, folder), reason)
        value = f"virtio-9p-pci,id={_ID}{share.name}-device,fsdev={_ID}{share.name},mount_tag={share.name}"
        sheet = sheet.add("-device", value, reason)
    return sheet


def fsdev(share: Share, folder: str) -> str:
    """The value of `-fsdev` for a folder, with its real path.

    mapped-xattr stores the guest's owners, modes, links and device nodes in extended attributes: files that it makes
    belong to this user, and are never a link, device or set-uid program of this host. multidevs=remap prevents two
    files on two disks in the folder from having the same inode number in the guest.
    """
    read_only = ",readonly=on" if share.read_only else ""
    how = f"security_model=mapped-xattr,fmode=0644,dmode=0755,multidevs=remap{read_only}"
    return f"local,id={_ID}{share.name},path={escape(folder)},{how}"


def devices_on(line: CommandLine) -> tuple[NinePDevice, ...]:
    """The folders that QEMU serves by 9p for Pommel on a finished command line."""
    found = []
    for argument in line.find("fsdev"):
        sub = argument.sub
        if (name := sub.get("id") or "").startswith(_ID):
            found.append(NinePDevice(name.removeprefix(_ID), sub.get("path") or "", sub.is_on("readonly")))
    return tuple(found)


def _tags(line: CommandLine) -> Iterator[str]:
    """The tags of the 9p devices of a command line."""
    for argument in line.find("device"):
        device = Keyed.parse("device", argument.value or "")
        if (device.get("driver") or "").startswith("virtio-9p"):
            yield device.get("mount_tag") or ""
    for argument in line.find("virtfs"):
        yield argument.sub.get("mount_tag") or ""


def own_server(backend: SubOptions) -> str | None:
    """The boot script's own option that puts a file server on a user-mode network."""
    if (folder := backend.get("smb")) is not None:
        return f"smb={folder}"
    return next((f"guestfwd={said}" for said in backend.all("guestfwd") if f":{PORT}-" in said), None)


def server_address(line: CommandLine, program: str) -> str | None:
    """The guest's address of the server `program`; None: QEMU has no such option."""
    for each in links(line):
        if each.kind == "user" and each.backend is not None:
            for said in with_forwards(each.backend).all("guestfwd"):
                where, _, how = said.partition("-")
                if how.startswith("cmd:") and program in how:
                    return where.split(":")[1]
    return None


def _address(backend: SubOptions) -> str | None:
    """The fourth address of the backend's network; None: the network is too small."""
    text = backend.get("net") or _NET
    if not backend.has("net") and (host := backend.get("host")) is not None:
        text = f"{host}/24"
    try:
        return str(ipaddress.ip_network(text if "/" in text else f"{text}/24", strict=False)[_SERVER])
    except (ValueError, IndexError):
        return None
