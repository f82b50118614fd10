"""Rules for the user's forwards into a guest, and reverse forwards to this host's services. Band: core, no I/O.

They are on the first user-mode network, beside the one for SSH. A forward of the boot script with the same host port is
left out, with a warning. If the machine has no user-mode network, the setting is refused by name.
"""

from __future__ import annotations

import ipaddress
import shlex

from pommel.errors import ConfigError
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.forwards import Forward, parse_hostfwd
from pommel.machine.networks import links, with_forwards
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import Pair, SubOptions

_NET = "10.0.2.0/24"  # QEMU's default (docs/system/devices/net.rst)
_FOR_SERVICES = 100  # the last number of the guest's address for this host's services


def forwards(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add the forwards and the reverse forwards to the first user-mode network."""
    asked, reverse = given.placement.forwards, given.placement.reverse
    if not asked and not reverse:
        return sheet
    found = [each.backend for each in links(sheet.line) if each.kind == "user" and each.backend is not None]
    if not found:
        return _elsewhere(sheet, given)
    for each in asked:
        if each.meets(Forward("tcp", "127.0.0.1", given.placement.ssh_port, 22)):
            raise ConfigError(
                f"forward {each}: port {each.port} of this host is {given.placement.guest_name}'s port for SSH",
                hint=f"choose another port, or change the port for SSH: ssh_port = {each.port + 1}",
            )
    for number, backend in enumerate(found):
        sheet = _laid(sheet, backend, given, first=number == 0)
    return sheet


def services_address(line: CommandLine) -> str | None:
    """The guest's address for this host's services; None: there is no user-mode network."""
    found = next((each.backend for each in links(line) if each.kind == "user" and each.backend is not None), None)
    return _services(with_forwards(found)) if found is not None else None


def _elsewhere(sheet: Sheet, given: RuleInput) -> Sheet:
    """Handle a machine without a user-mode network: passt can forward ports itself, other networks cannot."""
    asked, reverse, network = given.placement.forwards, given.placement.reverse, given.spec.network
    name = given.placement.guest_name
    if network == "passt" and not reverse:
        return sheet
    what = f"reverse {reverse[0]}" if network == "passt" or not asked else f"forward {asked[0]}"
    if network == "passt":
        raise ConfigError(
            f"{what} needs QEMU's own user-mode network, but {name} has passt",
            hint='set network = "user"; or use the address of the guest\'s gateway, which passt forwards to this host',
        )
    raise ConfigError(
        f"{what} needs a user-mode network, but {name} has network = {network or 'none'}",
        hint=f'there, the guest has its own address (pommel ip {name}); or set network = "user"',
    )


def _laid(sheet: Sheet, backend: Argument, given: RuleInput, *, first: bool) -> Sheet:
    asked, before = given.placement.forwards, with_forwards(backend)
    pairs: list[Pair] = []
    for key, value in before.pairs:
        there = parse_hostfwd(value or "") if key == "hostfwd" else None
        taker = next((each for each in asked if there is not None and each.meets(there)), None)
        if taker is None:
            pairs.append((key, value))
        elif there is not None and there.guest_port != taker.guest_port:
            sheet = sheet.warn(f"left out: hostfwd={value} of the boot script; the forward {taker} uses that port")
    if first:
        pairs += [("hostfwd", each.hostfwd) for each in asked]
        pairs += _reversed(before, given)
    elif tuple(pairs) == before.pairs:
        return sheet
    said = [f"forward {each}" for each in asked] + [f"reverse {each}" for each in given.placement.reverse]
    return sheet.change(backend, before.with_pairs(pairs), f"asked for: {', '.join(said)}")


def _reversed(before: SubOptions, given: RuleInput) -> list[Pair]:
    """A guestfwd for each service. QEMU starts the command for each connection, which is its standard input."""
    found: list[Pair] = []
    address = _services(before)
    for each in given.placement.reverse:
        rule = f"tcp:{address}:{each.guest_port}"
        if any(said.startswith(rule + "-") for said in before.all("guestfwd")):
            raise ConfigError(
                f"reverse {each}: the boot script has a guestfwd for {address}:{each.guest_port} already",
                hint="choose another port of the guest, or change the boot script with a patch",
            )
        words = (*given.placement.reverse_command, str(each.guest_port))
        found.append(("guestfwd", f"{rule}-cmd:{shlex.join(words)}"))
    return found


def _services(backend: SubOptions) -> str:
    """The hundredth address of the backend's network."""
    text = backend.get("net") or _NET
    if not backend.has("net") and (host := backend.get("host")) is not None:
        text = f"{host}/24"
    try:
        network = ipaddress.ip_network(text if "/" in text else f"{text}/24", strict=False)
        return str(network[_FOR_SERVICES])
    except (ValueError, IndexError):
        raise ConfigError(
            f"reverse: the boot script's network net={text} has no free address for this host's services",
            hint="a network of 128 addresses or more, such as net=10.0.2.0/24",
        ) from None
