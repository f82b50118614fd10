"""The SSH address of a machine's guest: the forward on this host, or an address of its own. Band: app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pommel import json_file, locks
from pommel.app.network import passt
from pommel.app.workspace import Workspace
from pommel.errors import AddressError, PommelError, StateError
from pommel.host import neighbours
from pommel.machine import added, networks, record, shares_added
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.forwards import Forward
from pommel.machine.keyed import Keyed
from pommel.machine.rules.forwards import services_address
from pommel.machine.rules.shares import NinePDevice, devices_on, server_address
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.ssh import parse_address

LOOPBACK = "127.0.0.1"
_SSH = 22
STARTED = "started.json"  # in the machine's folder: the options and the network of its last start


@dataclass(frozen=True, slots=True)
class Address:
    """The guest's SSH address, and how it was found."""

    host: str
    port: int
    how: str


@dataclass(frozen=True, slots=True)
class Network:
    """The network of the last start: whether SSH has a forward, the cards' MAC addresses, the forwarded TCP host ports.

    `forwards` are all forwards as texts of `machine.forwards`. `reverse` are the guest's ports for services of this
    host, at the address `services`. At the address `shares` the guest finds shared folders; `nine` are those by 9p.
    """

    forward: bool = True
    macs: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    forwards: tuple[str, ...] = ()
    reverse: tuple[int, ...] = ()
    services: str = ""
    passt: bool = False
    shares: str = ""
    nine: tuple[NinePDevice, ...] = ()


def network_of(line: CommandLine, ssh_port: int, asked: Sequence[Forward] = ()) -> Network:
    """The network of a finished command line; `asked` are the forwards that passt has in addition to SSH's."""
    ssh = Forward("tcp", LOOPBACK, ssh_port, _SSH)
    passed = any(_is_passt(link.backend) for link in networks.links(line) if link.backend is not None)
    there = (ssh, *asked) if passed else networks.host_forwards(line)
    macs = []
    for link in networks.links(line):
        card = link.card
        if card is not None:
            said = Keyed.parse("device", card.value or "") if card.name == "device" else None
            macs.append((said.get("mac") if said else card.sub.get("mac")) or "")
    return Network(
        ssh in there,
        tuple(mac for mac in macs if mac),
        tuple(each.port for each in there if each.protocol == "tcp"),
        tuple(map(str, there)),
        networks.reverse_ports(line, added.PROGRAM.name),
        services_address(line) or "",
        passed,
        server_address(line, shares_added.PROGRAM.name) or "",
        devices_on(line),
    )


def _is_passt(backend: Argument) -> bool:
    return networks.kind_of(backend) == "stream" and (backend.sub.get("addr.path") or "").endswith(passt.NAME)


def as_kept(network: Network) -> dict[str, Any]:
    """The network as plain values, for `STARTED`."""
    return asdict(network)


def kept(paths: MachinePaths) -> Network:
    """The network of the last start; if that is unknown, one with a forward."""
    return json_file.read_or(paths.directory / STARTED, lambda started: _network_of(started["network"]), Network())


def _network_of(found: Mapping[str, Any]) -> Network:
    return Network(
        bool(found["forward"]),
        tuple(map(str, found["macs"])),
        tuple(map(int, found.get("ports", ()))),
        tuple(map(str, found.get("forwards", ()))),
        tuple(map(int, found.get("reverse", ()))),
        str(found.get("services", "")),
        bool(found.get("passt", False)),
        str(found.get("shares", "")),
        tuple(NinePDevice(str(d["name"]), str(d["folder"]), bool(d["read_only"])) for d in found.get("nine", ())),
    )


def _network(spec: MachineSpec, paths: MachinePaths) -> Network:
    """The network of the last start, or that of the settings if the machine has never been started."""
    if (paths.directory / STARTED).exists():
        return kept(paths)
    forward = spec.network in (None, "user", "upstream", "passt")
    return Network(forward, () if spec.network == "none" else (spec.mac or record.load(paths.record).mac,))


def address(workspace: Workspace, name: str, *, root: Path = Path("/")) -> Address:
    """The SSH address of machine `name`'s guest: `ssh_host`, or the forward, or the address of its network card.

    Raises:
        StateError: it has not been made, or has no network.
        AddressError: its address is not known yet.
        ConfigError: `ssh_host` is not a valid address.
    """
    spec, paths = workspace.spec(name), workspace.made(name)
    if spec.ssh_host is not None:
        said = parse_address(spec.ssh_host)
        return Address(said.host, said.port or _SSH, "asked for: ssh_host")
    network, made = _network(spec, paths), record.load(paths.record)
    if network.forward:
        return Address(LOOPBACK, made.ssh_port, "a forward on this host")
    if not network.macs:
        raise StateError(
            f"{name} has no network, so it cannot be reached",
            hint=f'set network = "user" in [machine.{name}], and restart it',
        )
    return _found(name, network.macs, root)


def forwarded_port(workspace: Workspace, name: str) -> int | None:
    """The host port that is forwarded to the SSH of machine `name`'s guest; None: the guest has its own address."""
    spec, paths = workspace.spec(name), workspace.paths(name)
    if spec.ssh_host is not None or not _network(spec, paths).forward:
        return None
    return record.load(paths.record).ssh_port


def _found(name: str, macs: Sequence[str], root: Path) -> Address:
    for mac in macs:
        for found, where in neighbours.addresses(mac, root=root):
            return Address(found, _SSH, f"{mac} in {where}")
    raise AddressError(
        f"{name} has a network without a forward, and the host does not know the address of its network card "
        f"({', '.join(macs)}) yet",
        hint='wait until its guest is up, or set ssh_host = "ADDRESS"',
    )


def taken_macs(workspace: Workspace, name: str) -> Mapping[str, str]:
    """The MAC addresses of the other machines' cards, in lower case, each with its machine."""
    found = {}
    for other in workspace.home.names():
        if other != name:
            paths = workspace.paths(other)
            for mac in (*kept(paths).macs, *_recorded(paths)):
                found[mac.lower()] = other
    return found


def port_holder(workspace: Workspace, name: str, port: int) -> str | None:
    """The other running machine that forwards the host port `port`; None: there is none."""
    others = (other for other in workspace.home.names() if other != name)
    holds = (other for other in others if port in kept(workspace.paths(other)).ports)
    return next((other for other in holds if locks.holder(workspace.paths(other).pidfile) is not None), None)


def _recorded(paths: MachinePaths) -> tuple[str, ...]:
    try:
        return (record.load(paths.record).mac,)
    except PommelError:
        return ()
