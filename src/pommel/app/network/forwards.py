"""Forwards from ports of this host to a machine, and reverse forwards to services of this host. Band: app.

They are in pommel.toml (`forwards`, `reverse`) or were added by command (`pommel forward`); each start applies both.
For a running machine, QEMU is asked which forwards it has, and its answer counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pommel import locks
from pommel.app.network import checks as network_checks
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, MachineError, PommelError
from pommel.host import listeners
from pommel.machine import added, forwards, record, state, usernet
from pommel.machine.forwards import Forward, Reverse
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.process import run

if TYPE_CHECKING:
    from pommel.app.argv.commandline import PlannedCommand

_PROBE_S = 20.0
SERVICES, HOST = "10.0.2.100", "10.0.2.2"  # this host's addresses in the guest, unless the boot script sets others
SETTINGS, ADDED, SSH, SCRIPT, ONCE = "settings", "added", "ssh", "boot script", "once"


@dataclass(frozen=True, slots=True)
class RequestedForwards:
    """The wanted forwards, those of the settings first. `origins` says where each is from."""

    forwards: tuple[Forward, ...] = ()
    reverse: tuple[Reverse, ...] = ()
    origins: Mapping[Forward | Reverse, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForwardRow:
    """One forward into the guest. `live`: the running QEMU has it."""

    forward: str
    protocol: str
    host: str  # an address of this host
    port: int
    guest_port: int
    origin: str  # settings, added, ssh, boot script or once
    live: bool


@dataclass(frozen=True, slots=True)
class HostService:
    """One service of this host, which the guest reaches at `guest_address`:`guest_port`."""

    service: str  # as the setting spells it
    guest_address: str
    guest_port: int
    target: str
    origin: str
    live: bool


@dataclass(frozen=True, slots=True)
class Ways:
    """All forwards and reverse forwards of a machine."""

    name: str
    state: str
    forwards: tuple[ForwardRow, ...]
    reverse: tuple[HostService, ...]

    def as_dict(self) -> dict[str, Any]:
        """The forwards as one JSON object."""
        return {
            **asdict(self),
            "forwards": list(map(asdict, self.forwards)),
            "reverse": list(map(asdict, self.reverse)),
        }


def requested(workspace: Workspace, spec: MachineSpec) -> RequestedForwards:
    """The forwards wanted for machine `spec.name`, by its settings and by command.

    Raises:
        MachineError: the file of those added by command cannot be read.
    """
    more = added.load(workspace.paths(spec.name))
    said = [forwards.parse_forward(text) for text in spec.forwards], [forwards.parse_reverse(t) for t in spec.reverse]
    origins: dict[Forward | Reverse, str] = dict.fromkeys((*more.forwards, *more.reverse), ADDED)
    origins |= dict.fromkeys((*said[0], *said[1]), SETTINGS)
    return RequestedForwards(
        tuple(dict.fromkeys((*said[0], *more.forwards))), tuple(dict.fromkeys((*said[1], *more.reverse))), origins
    )


def placed(workspace: Workspace, spec: MachineSpec) -> dict[str, Any]:
    """The values for the network rules, by the field names of `Placement`.

    Raises: ConfigError: two of them use the same port. MachineError: the file of added forwards cannot be read.
    """
    wanted = requested(workspace, spec)
    if (two := forwards.double(wanted.forwards)) is not None:
        raise _one_port(spec.name, wanted, f"forward {two[0]}", f"forward {two[1]}", two[1])
    by_port: dict[int, Reverse] = {}
    for each in wanted.reverse:
        if by_port.setdefault(each.guest_port, each) != each:
            raise _one_port(spec.name, wanted, f"reverse {by_port[each.guest_port]}", f"reverse {each}", each)
    leads = workspace.paths(spec.name).directory / added.LEADS
    command = (sys.executable, "-I", "-S", str(added.PROGRAM), str(leads))
    return {"forwards": wanted.forwards, "reverse": wanted.reverse, "reverse_command": command}


def refuse(workspace: Workspace, spec: MachineSpec, planned: PlannedCommand, *, allotted: int = 0) -> None:
    """Before a start, refuse impossible networks and busy ports. The start itself replaces the port `allotted`.

    Raises:
        PommelError: there is one; the message names the user of a port, and the hint says what to type.
    """
    wanted = requested(workspace, spec)
    instead = {each: give_up(spec.name, wanted.origins[each], each) for each in wanted.forwards}
    line = planned.overlaid.command_line
    network_checks.refuse(line, partial(whose, workspace, spec.name), allotted=allotted, asked=instead)
    newer = [each for each in wanted.forwards if ":" in each.host]
    if newer and spec.network != "passt" and planned.qemu is not None:
        refuse_version_6(planned.qemu.path, newer[0])


def give_up(name: str, origin: str, each: Forward | Reverse) -> str:
    """What to type or change so that a wanted forward is removed."""
    kind = "--reverse " if isinstance(each, Reverse) else ""
    if origin == ADDED:
        return f"pommel forward {name} remove {kind}{each}"
    setting = "reverse" if isinstance(each, Reverse) else "forwards"
    return f"change {setting} in [machine.{name}] (pommel config {name} says where that is)"


def whose(workspace: Workspace, name: str, forward: Forward) -> str | None:
    """The other machine whose QEMU uses the host port of `forward`; None: there is none."""
    there = listeners.on_port(forward.port, forward.protocol)
    if there is not None and there.pid is not None:
        for other in workspace.home.names():
            if other != name and locks.holder(workspace.paths(other).pidfile) == there.pid:
                return other
    return reach.port_holder(workspace, name, forward.port) if forward.protocol == "tcp" else None


def refuse_busy(workspace: Workspace, name: str, forward: Forward, instead: str = "choose another port") -> None:
    """Refuse a forward whose host port is busy; `instead` says how to remove it.

    Raises:
        MachineError, NotPermitted, UsageError: the port cannot be used; the message names its user.
    """
    what = f"forward {forward}: port {forward.port}"
    network_checks.refuse_busy(forward, what, partial(whose, workspace, name), instead)


def refuse_version_6(qemu: Path, forward: Forward, said: str = "") -> None:
    """Refuse a forward from an IPv6 address if this QEMU cannot do that. A short start of QEMU shows it.

    Raises:
        MachineError: it cannot.
    """
    probe = f"user,id=n,hostfwd={forward.protocol}:[::1]:0-:80"
    words = [str(qemu), "-M", "none", "-nodefaults", "-display", "none", "-monitor", "stdio", "-netdev", probe]
    done = run(words, input=b"quit\n", check=False, timeout_s=_PROBE_S)
    if done.returncode != 0:
        told = said or next((line for line in reversed(done.output.splitlines()) if line.strip()), "no word")
        raise MachineError(
            f"forward {forward}: this QEMU can forward only from IPv4 addresses: {told.rpartition(': ')[2]}",
            hint=f'write 127.0.0.1:{forward.port}:{forward.guest_port}, or set network = "passt", which also supports '
            "IPv6",
        )


def listed(name: str, *, must_answer: bool = True, workspace: Workspace | None = None) -> Ways:
    """The forwards of machine `name`: those that are wanted, and those that its QEMU has.

    Without `must_answer`, a QEMU that does not answer counts as having those of its start.

    Raises:
        StateError: it has not been made.
        MachineError, DeadlineError: QEMU cannot be asked, or the file of added forwards cannot be read.
    """
    workspace = workspace or Workspace.current()
    spec, paths = workspace.spec(name), workspace.made(name)
    seen, wanted, start = state.observe(paths), requested(workspace, spec), reach.kept(paths)
    try:
        there = live(paths, start, alive=seen.alive)
    except PommelError:
        if must_answer:
            raise
        there = tuple(map(forwards.parse_forward, start.forwards))
    ssh = Forward("tcp", forwards.LOOPBACK, record.load(paths.record).ssh_port, 22)
    origins = {each: wanted.origins.get(each, SCRIPT if str(each) in start.forwards else ONCE) for each in there}
    if ssh in there:
        origins = {ssh: SSH} | {each: origin for each, origin in origins.items() if each != ssh}
    origins |= {each: wanted.origins[each] for each in wanted.forwards}
    ways = [
        ForwardRow(str(each), each.protocol, each.host, each.port, each.guest_port, origin, each in there)
        for each, origin in origins.items()
    ]
    ways.sort(key=lambda way: (way.origin != SSH, way.port, way.protocol, way.host))
    return Ways(name, str(seen.state), tuple(ways), tuple(_services(paths, wanted, start, alive=seen.alive)))


def live(paths: MachinePaths, start: reach.Network, *, alive: bool) -> tuple[Forward, ...]:
    """The forwards of the running machine. passt cannot be asked, so for it those of the start are returned.

    Raises:
        MachineError, DeadlineError: QEMU cannot be asked.
    """
    if not alive:
        return ()
    if start.passt:
        return tuple(map(forwards.parse_forward, start.forwards))
    rows = (each for network in usernet.look(paths).values() for each in network)
    return tuple(Forward(each.protocol, each.host, each.port, each.guest_port) for each in rows)


def _services(
    paths: MachinePaths, wanted: RequestedForwards, start: reach.Network, *, alive: bool
) -> list[HostService]:
    now = added.leads(paths) if alive else ()
    kept = dict.fromkeys((*wanted.reverse, *(each for each in now if each.guest_port in start.reverse)))
    return [
        HostService(
            str(each),
            start.services or SERVICES,
            each.guest_port,
            each.target,
            wanted.origins.get(each, ONCE),
            each in now and each.guest_port in start.reverse,
        )
        for each in kept
    ]


def claimed(workspace: Workspace, name: str, ssh_port: int) -> dict[int, str]:
    """The TCP ports that machines want to forward, each with its machine.

    Machine `name` itself is included, so that its SSH does not get one of them in place of a busy `ssh_port`.
    """
    found: dict[int, str] = {}
    for other in sorted(workspace.home.names(), key=lambda each: each != name):
        try:
            wanted = requested(workspace, workspace.spec(other))
        except PommelError:  # a machine with unreadable settings must not stop the others
            continue
        taken = {each.port for each in wanted.forwards if each.protocol == "tcp"}
        found |= dict.fromkeys(taken - {ssh_port} if other == name else taken, other)
    return found


def _one_port(name: str, wanted: RequestedForwards, first: str, second: str, last: Forward | Reverse) -> ConfigError:
    origin = wanted.origins[last]
    return ConfigError(
        f"{first} and {second} of {name} use the same port"
        + ("; the second was added by command" if origin == ADDED else ""),
        hint=give_up(name, origin, last),
    )


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: whether a running machine has its wanted forwards, or a stopped one finds the ports free."""
    paths, wanted = workspace.paths(spec.name), requested(workspace, spec)
    if paths.record.exists() and state.observe(paths).alive:
        there = listed(spec.name, workspace=workspace)
        for text, origin, alive in (
            *((f"forward {way.forward}", way.origin, way.live) for way in there.forwards),
            *((f"reverse {way.service}", way.origin, way.live) for way in there.reverse),
        ):
            if alive and origin != SSH:
                yield "forwards", "ok", f"{text} works", None
            elif not alive:
                yield "forwards", "warn", f"{text} is set, but does not work yet", f"pommel restart {spec.name}"
        return
    for each in wanted.forwards:
        try:
            refuse_busy(workspace, spec.name, each, give_up(spec.name, wanted.origins[each], each))
        except PommelError as busy:
            yield "forwards", "warn", busy.message, busy.hint
        else:
            yield "forwards", "ok", f"forward {each}: the port is free", None
