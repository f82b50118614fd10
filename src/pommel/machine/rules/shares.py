"""The rule for folders of the host that the guest sees. Band: core, no I/O.

QEMU is told which program to start for each connection to the file server's address in its user-mode network. It takes
that only when it starts, so it is told wherever folders could be shared later. A boot script that has a file server of
its own there (`smb=`, or a guestfwd for SMB's port) keeps it.
"""

from __future__ import annotations

import ipaddress
import shlex

from pommel.errors import ConfigError
from pommel.machine.commandline import CommandLine
from pommel.machine.networks import links, with_forwards
from pommel.machine.rules.sheet import Given, Sheet
from pommel.machine.shares import PORT
from pommel.machine.suboptions import SubOptions

_NET = "10.0.2.0/24"  # QEMU's own, where nothing else is said
_SERVER = 4  # the last number of the address, as QEMU's own smb= has it (net/slirp.c)


def shares(sheet: Sheet, given: Given) -> Sheet:
    """Have the first user-mode network lead to the folders that are shared, or may be.

    Raises:
        ConfigError: folders are asked for, and the machine has no such network, or it has another file server.
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


def own_server(backend: SubOptions) -> str | None:
    """What makes a user-mode network a file server's by the boot script's own words."""
    if (folder := backend.get("smb")) is not None:
        return f"smb={folder}"
    return next((f"guestfwd={said}" for said in backend.all("guestfwd") if f":{PORT}-" in said), None)


def server_address(line: CommandLine, program: str) -> str | None:
    """The address at which the guest finds what `program` serves; None: QEMU was not told of it."""
    for each in links(line):
        if each.kind == "user" and each.backend is not None:
            for said in with_forwards(each.backend).all("guestfwd"):
                where, _, how = said.partition("-")
                if how.startswith("cmd:") and program in how:
                    return where.split(":")[1]
    return None


def _address(backend: SubOptions) -> str | None:
    """The fourth address of the network that the backend has; None: it has no room for one."""
    text = backend.get("net") or _NET
    if not backend.has("net") and (host := backend.get("host")) is not None:
        text = f"{host}/24"
    try:
        return str(ipaddress.ip_network(text if "/" in text else f"{text}/24", strict=False)[_SERVER])
    except (ValueError, IndexError):
        return None
